// Sends calls with @rudderstack/rudder-sdk-node; standard input is {modules, url, key, gzip, calls}.
// Prints {delivered, failed}: what the client tells its user of each call.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { modules, url, key, gzip, calls } = JSON.parse(readFileSync(0, "utf8"));
const Analytics = createRequire(`${modules}/package.json`)("@rudderstack/rudder-sdk-node");

const told = { delivered: 0, failed: 0 };
const analytics = new Analytics(key, { dataPlaneUrl: url, gzip, errorHandler: () => {} });
const answered = calls.map(
  ({ call, message }) =>
    new Promise((resolve) => {
      message.timestamp = new Date(message.timestamp);
  analytics[call](message, (error) => {
        told[error ? "failed" : "delivered"] += 1;
        resolve();
      });
    }),
);
await analytics.flush();
await Promise.all(answered);
console.log(JSON.stringify(told));
