/**
 * What people and machines do to a broker while it is measured: they read its metrics, or list all its clients again and again. And the sessions that there are to list.
 */
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

const SESSIONS = 100_000;
const PARALLEL = 64;
const METRICS_MILLISECONDS = 1_000;
const PAGE = 1000;
/** From the beginning of a page to that of the next one. */
const PAGE_MILLISECONDS = 50;
/** Part of the pages that it must have come to: a broker that lists slowly is not to be the better for it. */
const PAGES_MIN = 0.9;
const disconnectPacket = Buffer.from([0xe0, 0]);

async function read(url, headers) {
  const answer = await fetch(url, { headers });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${text}`);
  return text;
}

/** Reads `/metrics` each second. @returns what ends it */
export function readMetrics(ports) {
  const timer = setInterval(read, METRICS_MILLISECONDS, `http://127.0.0.1:${ports.http}/metrics`);
  return () => clearInterval(timer);
}

/** A session that stays: CONNECT with Clean Session 0, CONNACK, DISCONNECT. */
function makeSession(port, clientId) {
  const id = Buffer.from(clientId);
  const packet = Buffer.concat([
    Buffer.from([0x10, 12 + id.length, 0, 4]),
    Buffer.from('MQTT'),
    Buffer.from([4, 0, 0, 60, 0, id.length]),
    id,
  ]);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => socket.write(packet));
    socket.once('data', (bytes) => {
      if (bytes[3] !== 0) reject(new Error(`no session for ${clientId}: ${bytes[3]}`));
      socket.end(disconnectPacket);
    });
    socket.once('error', reject);
    socket.once('close', resolve);
  });
}

/** Gives the broker 100,000 sessions of clients that are away. */
export async function makeSessions(ports) {
  let next = 0;
  const work = async () => {
    while (next < SESSIONS) await makeSession(ports.tcp, `away-${next++}`);
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}

/** Lists all clients, 20 pages of 1,000 a second, again and again. @returns what ends it, and rejects when they were not so many */
export function listClients(ports, key) {
  const url = `http://127.0.0.1:${ports.http}/api/v1/clients?limit=${PAGE}`;
  let isOver = false;
  let pages = 0;
  const begin = performance.now();
  const work = async () => {
    for (let cursor = ''; !isOver; pages++) {
      const { next } = JSON.parse(await read(`${url}${cursor && `&cursor=${cursor}`}`, { Authorization: `Bearer ${key}` }));
      cursor = next ?? '';
      await wait(Math.max(0, begin + (pages + 1) * PAGE_MILLISECONDS - performance.now()));
    }
  };
  const working = work();
  return async () => {
    isOver = true;
    await working;
    const wanted = (performance.now() - begin) / PAGE_MILLISECONDS;
    if (pages < wanted * PAGES_MIN) throw new Error(`only ${pages} of ${Math.round(wanted)} pages were listed`);
  };
}
