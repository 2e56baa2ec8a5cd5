// The error of an op's outputs.

/**
 * Returns the largest difference between outputs, divided by the root mean square of the expected output. Outputs that are
 * not numbers, such as token ids, must be equal.
 */
export function distance(got, want) {
  let worst = 0;
  for (const [name, { data }] of Object.entries(want)) {
    if (!(data instanceof Float32Array)) {
      if (data.some((x, i) => x !== got[name].data[i])) return Infinity;
      continue;
    }
    const rms = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length) || 1;
    data.forEach((x, i) => {
      const error = Math.abs(x - got[name].data[i]) / rms;
      if (error > worst || Number.isNaN(error)) worst = Number.isNaN(error) && Object.is(x, got[name].data[i]) ? worst : error;
    });
  }
  return worst;
}

/** Describes an error: in percent, or in parts per million if it is small. */
export function said(error) {
  if (error === 0) return "none";
  if (!Number.isFinite(error)) return "different";
  const [value, unit] = error < 1e-3 ? [1e6 * error, "ppm"] : [100 * error, "%"];
  return `${Number(value.toPrecision(2))} ${unit}`;
}
