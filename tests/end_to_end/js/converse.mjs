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

function vercel(model) {
  return (baseURL) => {
    const inputSchema = z.object({ shade: z.string() });
    const tools = { colour: tool({ description, inputSchema, execute: async (given) => colour(given) }) };
    const messages = [];
    return async (content) => {
      messages.push({ role: "user", content });
      const stopWhen = stepCountIs(5);
      const streamed = streamText({ model: model(baseURL), messages, tools, stopWhen, maxRetries: 0 });
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
