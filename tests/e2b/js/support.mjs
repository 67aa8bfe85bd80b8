// The server under test, and a sandbox for each test. `cargo xtask` starts the server and says where it is.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { Sandbox } from 'e2b'

const VARIABLE = 'CASEMATE_E2B_SERVERS'
const LONG = process.env.CASEMATE_LONG === '1'

function servers() {
  const path = process.env[VARIABLE]
  if (!path) throw new Error(`${VARIABLE} is not set: run \`cargo xtask test\`, or \`cargo xtask e2b\``)
  return JSON.parse(readFileSync(path, 'utf8'))
}

function bound(server, key) {
  return { apiUrl: server.url, sandboxUrl: server.url, apiKey: key }
}

const all = servers()

// What the SDK is given to speak to the server and no other.
export const options = bound(all.default, all.default.key)
export const stranger = bound(all.default, all.default.other_key)
export const small = bound(all.small, all.small.key)

// A test with a sandbox of its own. `quick` ones run always, the others when all are asked for.
export function quick(name, body, more) {
  test(name, { timeout: 60_000 }, () => within(body, more))
}

export function long(name, body, more) {
  test(name, { timeout: 60_000, skip: LONG ? false : 'left for --all' }, () => within(body, more))
}

async function within(body, more) {
  const sandbox = await Sandbox.create({ ...options, ...more })
  try {
    await body(sandbox)
  } finally {
    await sandbox.kill()
  }
}

// It fails with exactly this class, and the message has these words.
export async function refused(kind, doing, ...words) {
  let caught
  try {
    await doing()
  } catch (error) {
    caught = error
  }
  assert.ok(caught, `no ${kind.name}`)
  assert.equal(caught.constructor, kind, `${caught.name}: ${caught.message}`)
  for (const word of words) assert.ok(caught.message.includes(word), caught.message)
  return caught
}

export async function eventually(holds, milliseconds = 5000) {
  const start = Date.now()
  while (!(await holds())) {
    assert.ok(Date.now() - start < milliseconds, `not within ${milliseconds} ms`)
    await sleep(20)
  }
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
