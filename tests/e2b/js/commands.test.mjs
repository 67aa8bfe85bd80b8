// Commands and terminals.

import assert from 'node:assert/strict'

import {
  AuthenticationError,
  CommandExitError,
  InvalidArgumentError,
  NotFoundError,
  SandboxError,
  TimeoutError,
} from 'e2b'

import { eventually, long, quick, refused, sleep } from './support.mjs'

const UNKNOWN_PID = 4_000_000

quick('what a command writes comes back, both streams apart', async (sandbox) => {
  const said = await sandbox.commands.run('echo out; echo err >&2')
  assert.deepEqual([said.stdout, said.stderr, said.exitCode, said.error], ['out\n', 'err\n', 0, undefined])
})

quick('a failure is told with all it left', async (sandbox) => {
  const error = await refused(CommandExitError, () => sandbox.commands.run('echo a; echo b >&2; exit 3'))
  assert.deepEqual([error.exitCode, error.stdout, error.stderr, error.error], [3, 'a\n', 'b\n', 'exit status 3'])
})

long('an end by signal is told apart', async (sandbox) => {
  const error = await refused(CommandExitError, () => sandbox.commands.run('kill -9 $$'))
  assert.deepEqual([error.exitCode, error.error], [-1, 'signal: killed'])
})

long('a letter that comes in pieces is one letter', async (sandbox) => {
  const said = await sandbox.commands.run("printf 'a\\360\\237'; sleep 0.2; printf '\\246\\200z'")
  assert.equal(said.stdout, 'a🦀z')
})

long('a mebibyte comes back whole', async (sandbox) => {
  const said = await sandbox.commands.run("head -c 1048576 /dev/zero | tr '\\0' x")
  assert.equal(said.stdout, 'x'.repeat(1048576))
})

long('callbacks get the pieces in order as they come', async (sandbox) => {
  const out = []
  const err = []
  await sandbox.commands.run('for n in 1 2 3; do echo $n; echo e$n >&2; sleep 0.2; done', {
    onStdout: (piece) => out.push(piece),
    onStderr: (piece) => err.push(piece),
  })
  assert.deepEqual(out, ['1\n', '2\n', '3\n'])
  assert.deepEqual(err, ['e1\n', 'e2\n', 'e3\n'])
})

long('a command has the variables and the place it is given', async (sandbox) => {
  const said = await sandbox.commands.run('echo "$A:$PWD:$(id -un)"', { envs: { A: 'größe "x"' }, cwd: '/tmp' })
  assert.equal(said.stdout, 'größe "x":/tmp:user\n')
})

long('a place that is not there is refused', async (sandbox) => {
  await refused(InvalidArgumentError, () => sandbox.commands.run('true', { cwd: '/no/such' }), "cwd '/no/such' does not exist")
})

long('users are refused whom nobody knows or the policy does not grant', async (sandbox) => {
  await refused(AuthenticationError, () => sandbox.commands.run('true', { user: 'nosuchuser' }), 'nosuchuser')
  await refused(SandboxError, () => sandbox.commands.run('true', { user: 'root' }), 'root')
})

quick('a command past its time is ended on both sides', async (sandbox) => {
  const start = Date.now()
  await refused(TimeoutError, () => sandbox.commands.run('exec sleep 60', { timeoutMs: 1000 }))
  const took = Date.now() - start
  assert.ok(took > 900 && took < 4000, `${took} ms`)
  await eventually(async () => (await sandbox.commands.list()).length === 0)
})

quick('a command in the background takes input and is heard', async (sandbox) => {
  const command = await sandbox.commands.run('cat; echo end', { background: true, stdin: true })
  const [listed] = await sandbox.commands.list()
  assert.deepEqual([listed.pid, listed.cmd], [command.pid, '/bin/bash'])
  await sandbox.commands.sendStdin(command.pid, 'first\n')
  await sandbox.commands.sendStdin(command.pid, new TextEncoder().encode('größe\n'))
  await sandbox.commands.closeStdin(command.pid)
  assert.equal((await command.wait()).stdout, 'first\ngröße\nend\n')
})

long('a command lives on when nobody listens', async (sandbox) => {
  const command = await sandbox.commands.run('sleep 0.7; echo late; exit 4', { background: true })
  await command.disconnect()
  const again = await sandbox.commands.connect(command.pid)
  const error = await refused(CommandExitError, () => again.wait())
  assert.deepEqual([error.exitCode, error.stdout], [4, 'late\n'])
})

long('a kill is done when it is answered', async (sandbox) => {
  const command = await sandbox.commands.run('exec sleep 60', { background: true })
  assert.equal(await command.kill(), true)
  const said = await sandbox.commands.run(`kill -0 ${command.pid} 2>&1 || echo gone`)
  assert.ok(said.stdout.endsWith('gone\n'))
  assert.equal(await command.kill(), false)
  await refused(CommandExitError, () => command.wait())
})

long('what never ran can be neither killed, heard nor spoken to', async (sandbox) => {
  assert.equal(await sandbox.commands.kill(UNKNOWN_PID), false)
  await refused(NotFoundError, () => sandbox.commands.connect(UNKNOWN_PID))
  await refused(NotFoundError, () => sandbox.commands.sendStdin(UNKNOWN_PID, 'x'))
})

long('input to a command without any is refused', async (sandbox) => {
  const command = await sandbox.commands.run('exec sleep 60', { background: true })
  await refused(SandboxError, () => sandbox.commands.sendStdin(command.pid, 'x'), 'stdin not enabled or closed')
  await command.kill()
})

quick('a terminal shows what is typed, has its size and ends', async (sandbox) => {
  let shown = ''
  const terminal = await sandbox.pty.create({ cols: 100, rows: 30, onData: (data) => (shown += new TextDecoder().decode(data)) })
  const type = (text) => sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode(text))
  await type('echo size $(stty size)\n')
  await eventually(() => shown.includes('size 30 100'))
  await sandbox.pty.resize(terminal.pid, { cols: 77, rows: 11 })
  await type('echo size $(stty size)\n')
  await eventually(() => shown.includes('size 11 77'))
  await type('exit 6\n')
  const error = await refused(CommandExitError, () => terminal.wait())
  assert.equal(error.exitCode, 6)
})

long('a kill ends a terminal', async (sandbox) => {
  const terminal = await sandbox.pty.create({ cols: 80, rows: 24, onData: () => {} })
  assert.equal(await sandbox.pty.kill(terminal.pid), true)
  await refused(CommandExitError, () => terminal.wait())
  assert.equal(await sandbox.pty.kill(terminal.pid), false)
})

long('commands run beside each other', async (sandbox) => {
  const start = Date.now()
  const numbers = [...Array(8).keys()]
  const said = await Promise.all(numbers.map((number) => sandbox.commands.run(`sleep 1; echo ${number}`)))
  assert.deepEqual(said.map((one) => one.stdout), numbers.map((number) => `${number}\n`))
  assert.ok(Date.now() - start < 6000)
})

long('a request that is given up does not end the command', async (sandbox) => {
  const command = await sandbox.commands.run('sleep 1; echo done > /tmp/done', { background: true })
  await command.disconnect()
  await sleep(1500)
  assert.equal(await sandbox.files.read('/tmp/done'), 'done\n')
})
