// An untrained coprocessor: it shows where latents go and how long they take, not how they change answers.

/** Token id of a latent. */
export const LATENT = 0xffff_ffff;

/** Returns a coprocessor whose latents are means of the hidden states over equal parts of the text. */
export const means = (model) => async ({ tokens, width, latents, signal }) => {
  const ids = tokens.filter((id) => id !== LATENT);
  const rows = await model.embed(ids, { pooling: "none", signal });
  const count = Math.min(latents, ids.length);
  const made = new Float32Array(count * width);
  for (let latent = 0; latent < count; latent++) {
    const [from, to] = [latent, latent + 1].map((i) => Math.floor((i * ids.length) / count));
    for (let i = from * width; i < to * width; i++) made[latent * width + (i % width)] += rows[i] / (to - from);
  }
  return made;
};
