// Sends calls with @segment/analytics-node; standard input is {modules, url, key, calls}.
// Prints {delivered, failed}: what the client tells its user of each call.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { modules, url, key, calls } = JSON.parse(readFileSync(0, "utf8"));
const { Analytics } = createRequire(`${modules}/package.json`)("@segment/analytics-node");

const told = { delivered: 0, failed: 0 };
const analytics = new Analytics({ writeKey: key, host: url });
analytics.on("error", () => {});
for (const { call, message } of calls) {
  message.timestamp = new Date(message.timestamp);
  analytics[call](message, (error) => (told[error ? "failed" : "delivered"] += 1));
}
await analytics.closeAndFlush();
console.log(JSON.stringify(told));
