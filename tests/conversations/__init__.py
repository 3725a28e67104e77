"""Golden conversations: a folder each, replayed whole, byte by byte and chopped at random.

A folder holds `NOTE` (what it shows and where the behaviour is documented), `request.json` (the client's
body), `round-N.sse` or `round-N.json` (what the upstream answers), and what has to come of it: `client.out`
(status, telling headers, body), `asked.jsonl` (the bodies asked upstream), `records.jsonl` (the facts).
Optional: `tools.yaml` (MCP tools and their results; none injected without it), `headers.yaml` (of the
client), `limits.yaml` (caps), `upstream.yaml` (keys of the upstream's configuration), `round-N.yaml`
(`status`, `headers`, `cut: true` for a connection that breaks after the bytes).
Folders that begin with `responses-` speak `/v1/responses`, the others chat completions.
A conversation of several requests has numbered folders `1`, `2` … with these files each, `tools.yaml` and
`upstream.yaml` above.
`make golden` writes the expected files anew; git shows what changed.
"""
