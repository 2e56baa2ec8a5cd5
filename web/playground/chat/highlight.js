// Colours of code in common languages. The package has each language as a module of its own, also without a bundler.

import hljs from "@highlightjs/cdn-assets/es/core.min.js";
import bash from "@highlightjs/cdn-assets/es/languages/bash.min.js";
import c from "@highlightjs/cdn-assets/es/languages/c.min.js";
import cpp from "@highlightjs/cdn-assets/es/languages/cpp.min.js";
import css from "@highlightjs/cdn-assets/es/languages/css.min.js";
import go from "@highlightjs/cdn-assets/es/languages/go.min.js";
import java from "@highlightjs/cdn-assets/es/languages/java.min.js";
import javascript from "@highlightjs/cdn-assets/es/languages/javascript.min.js";
import json from "@highlightjs/cdn-assets/es/languages/json.min.js";
import python from "@highlightjs/cdn-assets/es/languages/python.min.js";
import rust from "@highlightjs/cdn-assets/es/languages/rust.min.js";
import sql from "@highlightjs/cdn-assets/es/languages/sql.min.js";
import typescript from "@highlightjs/cdn-assets/es/languages/typescript.min.js";
import xml from "@highlightjs/cdn-assets/es/languages/xml.min.js";
import yaml from "@highlightjs/cdn-assets/es/languages/yaml.min.js";

const all = { bash, c, cpp, css, go, java, javascript, json, python, rust, sql, typescript, xml, yaml };
for (const [name, language] of Object.entries(all)) hljs.registerLanguage(name, language);

/** Returns code as HTML with coloured words, or `undefined` if the language is not known. */
export function highlight(code, language) {
  return hljs.getLanguage(language) ? hljs.highlight(code, { language, ignoreIllegals: true }).value : undefined;
}
