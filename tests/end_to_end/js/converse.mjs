// Clients for JavaScript that run their tools themselves: `runTools` of the OpenAI SDK, and the Vercel AI SDK.
// A line of JSON in for each thing that the user says, a line out for the answer, until stdin ends.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { createInterface } from "node:readline";
import { z } from "zod";

const shades = { dark: "navy", light: "azure" };
const description = "Pick a colour.";
let ran = [];

function colour({ shade }) {
  ran.push(shade);
  return shades[shade];
}

function openai(stream) {
  return (baseURL) => {
    const client = new OpenAI({ baseURL, apiKey: "dummy", maxRetries: 0 });
    const parameters = { type: "object", properties: { shade: { type: "string" } }, required: ["shade"] };
    const own = { name: "colour", description, parameters, parse: JSON.parse, function: colour };
    let messages = [];
    return async (content) => {
      messages.push({ role: "user", content });
      const tools = [{ type: "function", function: own }];
      const runner = client.chat.completions.runTools({ model: "scripted-1", messages, tools, stream });
      const answer = await runner.finalContent();
      messages = [...runner.messages];
      return answer;
    };
  };
}

// The Responses API of the OpenAI SDK: `follow` goes on by `previous_response_id`, else the whole input is sent.
function responses(read, follow) {
  return (baseURL) => {
    const client = new OpenAI({ baseURL, apiKey: "dummy", maxRetries: 0 });
    const parameters = { type: "object", properties: { shade: { type: "string" } }, required: ["shade"] };
    const tools = [{ type: "function", name: "colour", description, parameters, strict: false }];
    let input = [];
    let previous;
    return async (content) => {
      input.push({ role: "user", content });
      for (;;) {
        const link = follow ? { previous_response_id: previous } : { store: false };
        const answer = await read(client, { model: "scripted-1", input, tools, ...link });
        previous = answer.id;
        input = follow ? [] : [...input, ...answer.output];
        const calls = answer.output.filter((item) => item.type === "function_call");
        if (!calls.length) return answer.output.flatMap((item) => item.content ?? []).map((part) => part.text).join("");
        for (const { call_id, arguments: given } of calls)
          input.push({ type: "function_call_output", call_id, output: colour(JSON.parse(given)) });
      }
    };
  };
}

async function whole(client, body) {
  return await client.responses.create(body);
}

async function accumulated(client, body) {
  const stream = client.responses.stream(body);
  for await (const event of stream) if (event.type === "error") throw new Error(event.message);
  return await stream.finalResponse();
}

async function iterated(client, body) {
  let last;
  for await (const event of await client.responses.create({ ...body, stream: true })) last = event;
  if (last.type !== "response.completed") throw new Error(last.type);
  return last.response;
}

function vercel(model, providerOptions) {
  return (baseURL) => {
    const inputSchema = z.object({ shade: z.string() });
    const tools = { colour: tool({ description, inputSchema, execute: async (given) => colour(given) }) };
    const messages = [];
    return async (content) => {
      messages.push({ role: "user", content });
      const stopWhen = stepCountIs(5);
      const model_ = model(baseURL);
      const streamed = streamText({ model: model_, messages, tools, stopWhen, maxRetries: 0, providerOptions });
      for await (const part of streamed.fullStream) if (part.type === "error") throw part.error;
      messages.push(...(await streamed.response).messages);
      return await streamed.text;
    };
  };
}

const apiKey = "dummy";
const ways = {
  runTools: openai(false),
  "runTools streamed": openai(true),
  "ai-sdk compatible": vercel((baseURL) => createOpenAICompatible({ name: "a", baseURL, apiKey })("scripted-1")),
  "ai-sdk compatible with usage": vercel((baseURL) =>
    createOpenAICompatible({ name: "a", baseURL, apiKey, includeUsage: true })("scripted-1"),
  ),
  "ai-sdk openai responses": vercel((baseURL) => createOpenAI({ baseURL, apiKey }).responses("scripted-1")),
  "ai-sdk openai responses unstored": vercel(
    (baseURL) => createOpenAI({ baseURL, apiKey }).responses("scripted-1"),
    { openai: { store: false } },
  ),
  "responses create": responses(whole, false),
  "responses iterate": responses(iterated, false),
  "responses stream": responses(accumulated, false),
  "responses create by id": responses(whole, true),
  "responses stream by id": responses(accumulated, true),
  "ai-sdk openai chat": vercel((baseURL) => createOpenAI({ baseURL, apiKey }).chat("scripted-1")),
};

let say;
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if (told.new) say = ways[told.way](told.base_url);
  ran = [];
  const outcome = await say(told.prompt).then((answer) => ({ answer, ran }), (error) => ({ failed: String(error) }));
  process.stdout.write(JSON.stringify(outcome) + "\n");
}
