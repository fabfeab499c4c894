// openai-node as a child of the tests: a scenario in JSON on each line of its input, its result on each of
// its output. tests/matrix/scenarios.py has the same scenarios, and says what each is for.
"use strict";

const { createHash } = require("node:crypto");
const { createInterface } = require("node:readline");
// Debian 12 has Node.js 18, where it is no global yet.
globalThis.File ??= require("node:buffer").File;
const { APIError, AzureOpenAI, OpenAI, toFile } = require("openai");

const digest = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");
const bytesOf = async (answer) => Buffer.from(await answer.arrayBuffer());

const usageOf = (usage) => {
  if (!usage) return null;
  const given = usage.prompt_tokens_details ?? {};
  const made = usage.completion_tokens_details ?? {};
  return [
    usage.prompt_tokens,
    given.cached_tokens ?? 0,
    given.cache_write_tokens ?? 0,
    usage.completion_tokens,
    made.reasoning_tokens ?? 0,
  ];
};

const responseUsageOf = (usage) => [
  usage.input_tokens,
  usage.input_tokens_details.cached_tokens,
  usage.input_tokens_details.cache_write_tokens,
  usage.output_tokens,
  usage.output_tokens_details.reasoning_tokens,
];

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const failure = (error, fields = []) => {
  if (!(error instanceof APIError) || error.status === undefined) throw error;
  const name = error.constructor.name;
  const found = {
    class: name === "APIError" ? "APIStatusError" : name,
    status: error.status,
    // openai-python makes a text of Google's numbers.
    code: error.code == null ? null : String(error.code),
    type: error.type ?? null,
    message: error.error?.message ?? null,
    request_id: error.requestID ?? null,
  };
  for (const field of fields) found[field] = error.headers.get(field);
  return found;
};

const failing = async (client, ask, fields) => {
  try {
    await client.chat.completions.create({ model: ask.models.chat, messages: ask.messages });
  } catch (error) {
    return failure(error, fields);
  }
  return { class: null };
};

const streamed = async (client, ask, more) => {
  let [text, finish, usage, bare] = ["", null, null, 0];
  const asked = { model: ask.models.chat, messages: ask.messages, stream: true, ...more };
  for await (const chunk of await client.chat.completions.create(asked)) {
    for (const choice of chunk.choices) {
      text += choice.delta?.content ?? "";
      finish = choice.finish_reason ?? finish;
    }
    usage = usageOf(chunk.usage) ?? usage;
    if (chunk.usage && chunk.choices.length === 0) bare += 1;
  }
  return { text, finish, usage, usage_events: bare };
};

const chat = async (client, ask) => {
  const made = await client.chat.completions.create({ model: ask.models.chat, messages: ask.messages });
  return {
    text: made.choices[0].message.content,
    finish: made.choices[0].finish_reason,
    model: made.model,
    usage: usageOf(made.usage),
    request_id: made._request_id,
  };
};

const scenarios = {
  chat,

  async settings(client, ask) {
    const asked = { model: ask.models.newest, messages: ask.messages, max_completion_tokens: 100 };
    const made = await client.chat.completions.create({ ...asked, temperature: 0.5, stop: ["###"] });
    return { text: made.choices[0].message.content, usage: usageOf(made.usage) };
  },

  stream: (client, ask) => streamed(client, ask, { stream_options: { include_usage: true } }),
  stream_unasked: (client, ask) => streamed(client, ask, {}),

  async tools(client, ask) {
    const asked = { model: ask.models.chat, tools: ask.tools };
    const create = (more) => client.chat.completions.create({ ...asked, ...more });
    const first = await create({ messages: ask.messages, tool_choice: "auto" });
    const message = first.choices[0].message;
    const calls = message.tool_calls ?? [];
    const said = calls.map((call, place) => ({
      role: "tool",
      tool_call_id: call.id,
      content: ask.results[place],
    }));
    const turn = { role: "assistant", content: message.content, tool_calls: calls };
    const second = await create({ messages: [...ask.messages, turn, ...said] });
    return {
      calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
      finish: first.choices[0].finish_reason,
      text: second.choices[0].message.content,
      usage: usageOf(second.usage),
    };
  },

  async tools_stream(client, ask) {
    const found = new Map();
    let finish = null;
    const asked = { model: ask.models.chat, messages: ask.messages, tools: ask.tools, stream: true };
    for await (const chunk of await client.chat.completions.create(asked)) {
      for (const choice of chunk.choices) {
        finish = choice.finish_reason ?? finish;
        for (const piece of choice.delta?.tool_calls ?? []) {
          const index = piece.index ?? null;
          if (!found.has(index)) found.set(index, ["", "", ""]);
          const call = found.get(index);
          call[0] += piece.id ?? "";
          call[1] += piece.function?.name ?? "";
          call[2] += piece.function?.arguments ?? "";
        }
      }
    }
    const calls = [...found].map(([index, [, name, text]]) => [index, name, parsed(text)]);
    const ids = new Set([...found.values()].map((call) => call[0]).filter((id) => id));
    return { calls, finish, ids: ids.size };
  },

  async structured(client, ask) {
    const json_schema = { name: "Weather", strict: true, schema: ask.schema };
    const made = await client.chat.completions.parse({
      model: ask.models.chat,
      messages: ask.messages,
      response_format: { type: "json_schema", json_schema },
    });
    const message = made.choices[0].message;
    return { parsed: message.parsed, refusal: message.refusal ?? null };
  },

  async embeddings(client, ask) {
    const made = await client.embeddings.create({ model: ask.models.embedding, input: ["a", "b"] });
    return { vectors: made.data.map((one) => Array.from(one.embedding)), tokens: made.usage.prompt_tokens };
  },

  async files(client, ask) {
    const file = await toFile(Buffer.from(ask.upload, "base64"), "batch.jsonl");
    const made = await client.files.create({ file, purpose: "batch" }, { headers: ask.steering });
    const seen = await client.files.retrieve(made.id);
    const content = digest(await bytesOf(await client.files.content(made.id)));
    const gone = await client.files.delete(made.id);
    return { bytes: made.bytes, seen: seen.bytes, content, deleted: gone.deleted };
  },

  async speech(client, ask) {
    const asked = { model: ask.models.speech, voice: "alloy", input: "Hello" };
    return { sound: digest(await bytesOf(await client.audio.speech.create(asked))) };
  },

  async transcription(client, ask) {
    const file = await toFile(Buffer.alloc(1000), "a.mp3");
    const made = await client.audio.transcriptions.create({ model: ask.models.transcription, file });
    return { text: made.text, tokens: [made.usage.input_tokens, made.usage.output_tokens] };
  },

  async image(client, ask) {
    const made = await client.images.generate({ model: ask.models.image, prompt: "A cat" });
    const tokens = made.usage ? [made.usage.input_tokens, made.usage.output_tokens] : null;
    return { picture: made.data[0].b64_json, tokens };
  },

  async response(client, ask) {
    const made = await client.responses.create({ model: ask.models.chat, input: "Say hello" });
    return { text: made.output_text, status: made.status, usage: responseUsageOf(made.usage) };
  },

  async response_stream(client, ask) {
    let [text, last] = ["", null];
    const asked = { model: ask.models.chat, input: "Say hello", stream: true };
    for await (const event of await client.responses.create(asked)) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event;
    }
    return { text, last: last.type, usage: responseUsageOf(last.response.usage) };
  },

  async errors(client, ask) {
    const found = {};
    for (const status of ask.statuses) found[status] = await failing(client, ask);
    return found;
  },

  error_headers: (client, ask) => failing(client, ask, ["retry-after", "retry-after-ms", "x-should-retry"]),
  retries: (client, ask) => chat(client.withOptions({ maxRetries: 2 }), ask),
  retries_told: (client, ask) => chat(client.withOptions({ maxRetries: 1 }), ask),
  retries_forbidden: (client, ask) => failing(client.withOptions({ maxRetries: 2 }), ask),
};

const clientOf = (ask) => {
  const options = {
    apiKey: ask.key,
    maxRetries: 0,
    timeout: 20_000,
    organization: ask.organization,
  };
  return ask.client === "AzureOpenAI"
    ? new AzureOpenAI({ ...options, endpoint: ask.url, apiVersion: ask.version })
    : new OpenAI({ ...options, baseURL: ask.url });
};

const run = async (ask) => {
  const scenario = scenarios[ask.scenario];
  if (scenario === undefined) throw new Error(`no scenario ${ask.scenario}`);
  try {
    return await scenario(clientOf(ask), ask);
  } catch (error) {
    return failure(error);
  }
};

const main = async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { result: await run(JSON.parse(line)) };
    } catch (error) {
      answer = { raised: String(error.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
};

main();
