/**
 * A model behind OpenAI's HTTP API inside a program of one's own: starts the server on a free port, asks it something as
 * any client would, and closes it.
 *
 *   node examples/serve-in-app.mjs MODEL
 */
import { serve } from "bitnet.ts/serve";

const [model] = process.argv.slice(2);
if (!model) throw new Error("name a model");

const server = await serve({ model, port: 0, slots: 2 });
console.log(`${server.modelName} at ${server.url}`);
try {
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: server.modelName, prompt: "Once upon a time", max_tokens: 20, temperature: 0 }),
  });
  const { choices, usage } = await response.json();
  console.log(JSON.stringify(choices[0].text));
  console.log(`${usage.completion_tokens} tokens written`);
} finally {
  await server.close();
}
