// A sandbox from creation to end.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import { AuthenticationError, Sandbox, SandboxError, SandboxNotFoundError, TimeoutError } from 'e2b'

import { eventually, long, options, quick, refused, sleep, small, stranger } from './support.mjs'

const SECOND = 1000

quick('the details are those of request and policy', async (sandbox) => {
  assert.match(sandbox.sandboxId, /^i[a-z0-9]{20}$/)
  const info = await sandbox.getInfo()
  assert.equal(info.name, 'base')
  assert.deepEqual(info.metadata, { größe: '日本 🦀', empty: '' })
  assert.equal(info.state, 'running')
  assert.deepEqual([info.cpuCount, info.memoryMB, info.envdVersion], [2, 2048, '0.6.13'])
  assert.ok(Math.abs(info.endAt - info.startedAt - 120 * SECOND) <= SECOND)
}, { timeoutMs: 120_000, metadata: { größe: '日本 🦀', empty: '' } })

long('a sandbox lives five minutes if nothing is said', async (sandbox) => {
  const info = await sandbox.getInfo()
  assert.ok(Math.abs(info.endAt - info.startedAt - 300 * SECOND) <= SECOND)
})

long('variables of a sandbox are in every command', async (sandbox) => {
  const said = await sandbox.commands.run('printf %s "$A|$B"', { envs: { B: 'c' } })
  assert.equal(said.stdout, 'a\nb|c')
}, { envs: { A: 'a\nb', B: 'b' } })

long('an unknown template is not found', async () => {
  const error = await refused(SandboxError, () => Sandbox.create('nosuchtemplate', options), '404', 'nosuchtemplate')
  assert.equal(error.statusCode, 404)
})

const REFUSED = {
  autoPause: { lifecycle: { onTimeout: 'pause' } },
  network: { network: { denyOut: ['10.0.0.0/8'] } },
  volumeMounts: { volumeMounts: { '/data': 'books' } },
  mcp: { mcp: { time: {} } },
  iam: { iam: { tokens: { a: { audience: 'b', tokenType: 'JWT-SVID' } } } },
}
for (const [field, more] of Object.entries(REFUSED)) {
  long(`${field} is refused by name`, async () => {
    await refused(SandboxError, () => Sandbox.create('base', { ...options, ...more }), '400', field)
  })
}

quick('a kill ends it once, and it is told apart from a broken one', async (sandbox) => {
  assert.equal(await sandbox.isRunning(), true)
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
  assert.equal(await sandbox.isRunning(), false)
  await refused(SandboxNotFoundError, () => sandbox.getInfo(), sandbox.sandboxId)
  await refused(SandboxNotFoundError, () => sandbox.setTimeout(10_000))
  await refused(SandboxNotFoundError, () => Sandbox.connect(sandbox.sandboxId, options))
  await refused(SandboxNotFoundError, () => sandbox.commands.run('true'))
  await refused(TimeoutError, () => sandbox.files.read('/etc/passwd'), 'was not found')
})

long('what never was cannot be killed', async () => {
  assert.equal(await Sandbox.kill('nonexistingsandbox', options), false)
})

long('connecting gives the same sandbox and never shortens its life', async (sandbox) => {
  await sandbox.files.write('/tmp/note', 'still here')
  const before = (await sandbox.getInfo()).endAt
  const again = await Sandbox.connect(sandbox.sandboxId, { ...options, timeoutMs: 10_000 })
  assert.equal(again.sandboxId, sandbox.sandboxId)
  assert.equal(await again.files.read('/tmp/note'), 'still here')
  assert.deepEqual((await sandbox.getInfo()).endAt, before)
})

quick('a sandbox ends within a second of its time', async (sandbox) => {
  const end = (await sandbox.getInfo()).endAt
  assert.equal(await sandbox.isRunning(), true)
  await sleep(end - Date.now() + SECOND)
  assert.equal(await sandbox.isRunning(), false)
}, { timeoutMs: 2_000 })

long('a new timeout counts from now', async (sandbox) => {
  for (const seconds of [1000, 40]) {
    await sandbox.setTimeout(seconds * SECOND)
    const left = (await sandbox.getInfo()).endAt - Date.now()
    assert.ok(Math.abs(left - seconds * SECOND) <= 2 * SECOND)
  }
})

long('a command learns that its sandbox was killed', async (sandbox) => {
  const command = await sandbox.commands.run('sleep 60', { background: true })
  await sandbox.kill()
  await refused(TimeoutError, () => command.wait())
})

long('a policy bounds every life', async () => {
  await refused(SandboxError, () => Sandbox.create({ ...small, timeoutMs: 3_600_000 }), '400')
})

quick('what another key made is not found', async (sandbox) => {
  const id = sandbox.sandboxId
  await refused(SandboxNotFoundError, () => Sandbox.getInfo(id, stranger))
  await refused(SandboxNotFoundError, () => Sandbox.connect(id, stranger))
  await refused(SandboxNotFoundError, () => Sandbox.setTimeout(id, 1000, stranger))
  assert.equal(await Sandbox.kill(id, stranger), false)
  assert.equal(await sandbox.isRunning(), true)
})

long('a key that is none is told so', async () => {
  await refused(AuthenticationError, () => Sandbox.create({ ...options, apiKey: 'e2b_' + '0'.repeat(40) }))
})

long('pages give each sandbox once, through a filter of odd letters', async () => {
  const metadata = { 'k y=&': randomUUID() + ' v&1=%41+' }
  const made = []
  try {
    for (let count = 0; count < 3; count++) made.push(await Sandbox.create({ ...options, metadata }))
    const pages = Sandbox.list({ ...options, query: { metadata }, limit: 2 })
    const found = []
    while (pages.hasNext) found.push(...(await pages.nextItems()))
    assert.deepEqual(found.map((one) => one.sandboxId), made.map((one) => one.sandboxId).reverse())
    assert.deepEqual(found[0].metadata, metadata)
  } finally {
    for (const sandbox of made) await sandbox.kill()
  }
})

const CANNOT = {
  paus: (sandbox) => sandbox.pause(),
  snapshot: (sandbox) => sandbox.createSnapshot(),
  metrics: (sandbox) => sandbox.getMetrics(),
  network: (sandbox) => sandbox.updateNetwork({}),
}
for (const [name, ask] of Object.entries(CANNOT)) {
  long(`${name} of a living sandbox is refused by name`, async (sandbox) => {
    await refused(SandboxError, () => ask(sandbox), '501', name)
    assert.equal(await sandbox.isRunning(), true)
  })
}

long('a timeout of nothing ends it now', async (sandbox) => {
  await sandbox.setTimeout(0)
  await eventually(async () => !(await sandbox.isRunning()), 1500)
})
