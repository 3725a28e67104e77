"""The load kit: aibridge beside what it is measured against, side by side in one run. See README.md."""
