// Asks with the OpenAI SDK for JavaScript: a line of JSON in, a line of JSON out, until stdin ends.
import OpenAI from "openai";
import { createInterface } from "node:readline";

const ways = {
  async create(client, body) {
    const completion = await client.chat.completions.create(body);
    return { completion };
  },
  async iterate(client, body) {
    const chunks = [];
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) chunks.push(chunk);
    return { chunks };
  },
  async stream(client, body) {
    const runner = client.chat.completions.stream(body);
    const chunks = [];
    for await (const chunk of runner) chunks.push(chunk);
    return { completion: await runner.finalChatCompletion(), chunks };
  },
};

function failure(error) {
  return {
    failed: {
      kind: error.constructor.name,
      message: error.message,
      status: error.status ?? null,
      body: error.error ?? null,
      headers: Object.fromEntries(error.headers ?? []),
    },
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { way, base_url, body } = JSON.parse(line);
  const client = new OpenAI({ baseURL: base_url, apiKey: "dummy", maxRetries: 0 });
  const outcome = await ways[way](client, body).catch(failure);
  process.stdout.write(JSON.stringify(outcome) + "\n");
}
