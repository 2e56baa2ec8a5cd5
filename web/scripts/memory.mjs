// Finds the memory that a wasm file imports.

/** Returns pages of the memory, and the offset of the flags that say whether it is shared. */
export function memoryOf(bytes) {
  let at = 8;
  const number = () => {
    let [value, shift, byte] = [0, 0];
    do {
      byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte & 0x80);
    return value;
  };
  const skip = (count) => (at += count);
  const limits = () => {
    const flags = at;
    const hasMaximum = number() & 1;
    return { flags, initial: number(), maximum: hasMaximum ? number() : undefined };
  };
  while (at < bytes.length) {
    const [section, size] = [bytes[at++], number()];
    if (section !== IMPORTS) {
      skip(size);
      continue;
    }
    for (let count = number(); count > 0; count--) {
      for (const _ of ["module", "name"]) skip(number());
      const kind = bytes[at++];
      if (kind === FUNCTION) number();
      else if (kind === TABLE) (skip(1), limits());
      else if (kind === MEMORY) return limits();
      else if (kind === GLOBAL) skip(2);
      else break;
    }
  }
  throw new Error("the wasm file imports no memory");
}

const IMPORTS = 2;
const [FUNCTION, TABLE, MEMORY, GLOBAL] = [0, 1, 2, 3];
