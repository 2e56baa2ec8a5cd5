// Functions that the model may call on the page of tools.

/** Returns a tool in OpenAI's form. All arguments are required. */
const tool = (name, description, properties) => ({
  type: "function",
  function: { name, description, parameters: { type: "object", properties, required: Object.keys(properties), additionalProperties: false } },
});

const MOST = 1e9;
const ZONES = ["Europe/London", "America/New_York", "Asia/Tokyo"];
const OPERATIONS = { add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b };

/** Each function with its description for the model. */
const ALL = [
  [
    tool("count_letters", "Counts how often a letter occurs in a word", {
      word: { type: "string", pattern: "^[A-Za-z]{1,30}$" },
      letter: { type: "string", pattern: "^[a-z]$" },
    }),
    ({ word, letter }) => word.toLowerCase().split(letter).length - 1,
  ],
  [
    tool("calculate", "Calculates with two whole numbers", {
      operation: { enum: Object.keys(OPERATIONS) },
      a: { type: "integer", minimum: -MOST, maximum: MOST },
      b: { type: "integer", minimum: -MOST, maximum: MOST },
    }),
    ({ operation, a, b }) => OPERATIONS[operation](a, b),
  ],
  [
    tool("current_time", "Returns the date and time in a time zone", { time_zone: { enum: ZONES } }),
    ({ time_zone: timeZone }) => new Date().toLocaleString("en-GB", { timeZone, dateStyle: "full", timeStyle: "short" }),
  ],
];

export const TOOLS = ALL.map(([described]) => described);

/** Runs a call of the model, and returns its result as the content of a message. */
export function call({ name, arguments: given }) {
  const [, run] = ALL.find(([described]) => described.function.name === name) ?? [];
  return run ? String(run(given)) : `there is no function ${name}`;
}
