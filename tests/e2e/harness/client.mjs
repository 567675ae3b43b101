// One request by Node: fetch where it can go (it takes no proxy before Node 24), else Node's own http and https modules.
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";

const wish = JSON.parse(process.argv[2]);
const body = wish.hasBody ? await read(process.stdin) : undefined;
const headers = Object.fromEntries(wish.headers);
const proxy = wish.proxy && new URL(wish.proxy);
const tag = proxy && { "Proxy-Authorization": "Basic " + btoa(`${proxy.username}:${proxy.password}`) };

const ways = { path: byFetch, absolute: byAbsoluteForm, connect: byTunnel };
const { status, fields, stream } = await ways[wish.entrance]();
process.stderr.write(JSON.stringify({ status, headers: fields }));
for await (const piece of stream) {
  if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once("drain", resolve));
}
await new Promise((resolve) => process.stdout.write("", resolve));
process.exit(0);

async function read(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function byFetch() {
  const answer = await fetch(wish.url, { method: wish.method, headers, body, redirect: "manual" });
  const stream = answer.body ? Readable.fromWeb(answer.body) : [];
  return { status: answer.status, fields: Object.fromEntries(answer.headers), stream };
}

function byAbsoluteForm() {
  const url = new URL(wish.url);
  if (!proxy) return finish(http, url, { headers });
  const to = { host: proxy.hostname, port: proxy.port, path: wish.url };
  return finish(http, to, { headers: { Host: url.host, ...headers, ...tag } });
}

async function byTunnel() {
  const url = new URL(wish.url);
  if (!proxy) return finish(https, url, { headers });
  const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host, headers: tag });
  const socket = await new Promise((resolve, reject) => {
    connect.on("connect", (answer, made) => (answer.statusCode === 200 ? resolve(made) : reject(answer.statusCode)));
    connect.on("error", reject);
    connect.end();
  });
  return finish(https, url, { headers, socket, agent: false, servername: url.hostname });
}

function finish(module, to, options) {
  return new Promise((resolve, reject) => {
    const target = to instanceof URL ? { host: to.hostname, port: to.port, path: to.pathname + to.search } : to;
    const request = module.request({ ...target, method: wish.method, ...options });
    request.on("response", (answer) => resolve({ status: answer.statusCode, fields: answer.headers, stream: answer }));
    request.on("error", reject);
    request.end(body);
  });
}
