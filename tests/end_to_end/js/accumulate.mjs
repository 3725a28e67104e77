// Feeds recorded responses to the OpenAI SDK for JavaScript: a file of cases in, what it made of each out.
import OpenAI from "openai";
import { readFile } from "node:fs/promises";

async function understood({ status, headers, body, request }) {
  const fetch = async () => new Response(body, { status, headers });
  const client = new OpenAI({ baseURL: "http://bridge/v1", apiKey: "dummy", maxRetries: 0, fetch });
  if (!request.stream) return { completion: await client.chat.completions.create(request) };
  const completion = await client.chat.completions.stream(request).finalChatCompletion();
  let text = "";
  for await (const chunk of await client.chat.completions.create(request)) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { completion, text };
}

const failed = (error) => ({ failed: error.constructor.name, message: error.message });
const outcomes = [];
for (const example of JSON.parse(await readFile(process.argv[2], "utf8"))) {
  outcomes.push(await understood(example).catch(failed));
}
process.stdout.write(JSON.stringify(outcomes));
