// OpenAI's npm package against a server: calls with their expected results.
//
// usage: node clients.mjs ADDRESS MODEL TOOLED KEY
import assert from 'node:assert/strict'
import OpenAI from 'openai'

const [base, model, tooled, apiKey] = process.argv.slice(2)
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 })
let calls = 0
const counted = promise => (calls++, promise)
const messages = [{ role: 'user', content: 'What is the capital of France?' }]
const greedy = { model, messages, temperature: 0, max_tokens: 16 }

async function all(stream) {
  const found = []
  for await (const event of stream) found.push(event)
  return found
}

const whole = await counted(client.chat.completions.create(greedy))
const text = whole.choices[0].message.content
assert.match(text, /Paris/)
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)

const chunks = await all(await counted(client.chat.completions.create({ ...greedy, stream: true, stream_options: { include_usage: true } })))
assert.equal(chunks.map(chunk => chunk.choices[0]?.delta?.content ?? '').join(''), text)
assert.deepEqual(chunks.at(-1).usage, whole.usage)

const final = await counted(client.chat.completions.stream(greedy).finalContent())
assert.equal(final, text)

const two = await counted(client.chat.completions.create({ ...greedy, n: 2, temperature: 1, seed: 5, logprobs: true, top_logprobs: 2 }))
assert.equal(two.choices.length, 2)
assert.equal(two.choices[0].logprobs.content[0].top_logprobs.length, 2)

const parameters = { type: 'object', properties: { place: { enum: ['Paris', 'Rome'] } }, required: ['place'], additionalProperties: false }
const tools = [{ type: 'function', function: { name: 'weather', parameters } }]
const asked = { ...greedy, model: tooled, max_tokens: 80, tools, tool_choice: 'required' }
const called = await counted(client.chat.completions.create(asked))
assert.match(called.choices[0].message.tool_calls[0].function.arguments, /Paris|Rome/)
const streamed = await counted(client.chat.completions.stream(asked).finalChatCompletion())
assert.equal(streamed.choices[0].message.tool_calls[0].function.name, 'weather')

const completion = await counted(client.completions.create({ model, prompt: 'The capital of France is', max_tokens: 5, temperature: 0, echo: true }))
assert.match(completion.choices[0].text, /^The capital of France is.*Paris/)

const schema = { type: 'json_schema', json_schema: { name: 'place', schema: { type: 'object', properties: { large: { type: 'boolean' } }, required: ['large'], additionalProperties: false } } }
const formed = await counted(client.chat.completions.create({ ...greedy, max_tokens: 60, response_format: schema }))
assert.equal(typeof JSON.parse(formed.choices[0].message.content).large, 'boolean')

const response = await counted(client.responses.create({ model, input: messages[0].content, temperature: 0, max_output_tokens: 16 }))
assert.match(response.output_text, /Paris/)
const events = await all(await counted(client.responses.create({ model, input: messages[0].content, temperature: 0, max_output_tokens: 16, stream: true })))
assert.equal(events.filter(event => event.type === 'response.output_text.delta').map(event => event.delta).join(''), response.output_text)
assert.equal(events.at(-1).response.usage.output_tokens, response.usage.output_tokens)

const vector = await counted(client.embeddings.create({ model, input: 'the king' }))
const floats = await counted(client.embeddings.create({ model, input: 'the king', encoding_format: 'float' }))
assert.equal(vector.data[0].embedding.length, floats.data[0].embedding.length)

assert.ok((await counted(client.models.list())).data.some(found => found.id === model))
await assert.rejects(counted(client.chat.completions.create({ ...greedy, temperature: 9 })), error => error.status === 400 && error.param === 'temperature')
await assert.rejects(counted(client.chat.completions.create({ ...greedy, model: 'gpt' })), error => error.status === 404 && error.code === 'model_not_found')
await assert.rejects(counted(new OpenAI({ baseURL: `${base}/v1`, apiKey: 'wrong', maxRetries: 0 }).models.list()), error => error.status === 401)

// A client that stops reading in the midst.
const controller = new AbortController()
const stream = await counted(client.chat.completions.create({ ...greedy, max_tokens: 1000, ignore_eos: true, stream: true }, { signal: controller.signal }))
for await (const _ of stream) controller.abort()

console.log(`ok: ${calls} calls of the npm package had their results`)
