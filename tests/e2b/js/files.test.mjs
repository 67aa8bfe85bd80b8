// Files and directories.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'

import { FileNotFoundError, FileType, InvalidArgumentError, NotEnoughSpaceError, Sandbox, SandboxError } from 'e2b'

import { long, quick, refused, small } from './support.mjs'

quick('a text comes back', async (sandbox) => {
  const written = await sandbox.files.write('/tmp/größe a.txt', 'größe 🦀\r\n')
  assert.deepEqual({ ...written }, { name: 'größe a.txt', type: 'file', path: '/tmp/größe a.txt', metadata: undefined })
  assert.equal(await sandbox.files.read('/tmp/größe a.txt'), 'größe 🦀\r\n')
})

for (const useOctetStream of [false, true]) {
  quick(`bytes come back ${useOctetStream ? 'as octets' : 'by a form'}`, async (sandbox) => {
    const content = randomBytes(3 << 20)
    await sandbox.files.write('/tmp/b', content.buffer.slice(content.byteOffset, content.byteOffset + content.length), {
      useOctetStream,
    })
    const read = await sandbox.files.read('/tmp/b', { format: 'bytes' })
    assert.ok(Buffer.from(read).equals(content))
  })
}

long('an empty file is a file in every format', async (sandbox) => {
  await sandbox.files.write('/tmp/e', '')
  assert.equal(await sandbox.files.read('/tmp/e'), '')
  assert.equal((await sandbox.files.read('/tmp/e', { format: 'bytes' })).length, 0)
  assert.equal((await sandbox.files.read('/tmp/e', { format: 'blob' })).size, 0)
})

long('a file is read and written as a stream', async (sandbox) => {
  const content = randomBytes(5 << 20)
  await sandbox.files.write('/tmp/s', new Blob([content]).stream())
  const pieces = []
  for await (const piece of await sandbox.files.read('/tmp/s', { format: 'stream' })) pieces.push(piece)
  assert.ok(Buffer.concat(pieces).equals(content))
})

long('what is sent compressed is written plain', async (sandbox) => {
  await sandbox.files.write('/tmp/z', 'compress me '.repeat(10000), { gzip: true })
  assert.equal((await sandbox.files.getInfo('/tmp/z')).size, 120000)
  assert.equal(await sandbox.files.read('/tmp/z', { gzip: true }), 'compress me '.repeat(10000))
})

long('several files are written in order', async (sandbox) => {
  const files = ['b', 'a', 'c d'].map((name) => ({ path: `/tmp/m/${name}`, data: name }))
  const written = await sandbox.files.writeFiles(files)
  assert.deepEqual(written.map((one) => one.path), files.map((one) => one.path))
  for (const { path, data } of files) assert.equal(await sandbox.files.read(path), data)
})

long('what is not there is not found', async (sandbox) => {
  await refused(FileNotFoundError, () => sandbox.files.read('/tmp/nothing'), '/tmp/nothing')
  await refused(FileNotFoundError, () => sandbox.files.getInfo('/tmp/nothing'))
  await refused(FileNotFoundError, () => sandbox.files.list('/tmp/nothing'))
  await refused(FileNotFoundError, () => sandbox.files.rename('/tmp/nothing', '/tmp/x'))
  assert.equal(await sandbox.files.exists('/tmp/nothing'), false)
  await sandbox.files.remove('/tmp/nothing')
})

long('a directory is neither read nor overwritten', async (sandbox) => {
  await refused(InvalidArgumentError, () => sandbox.files.read('/tmp'), 'directory')
  await refused(InvalidArgumentError, () => sandbox.files.write('/tmp', 'x'))
})

long('an entry is told in full', async (sandbox) => {
  await sandbox.files.write('f', '12345')
  const info = await sandbox.files.getInfo('f')
  assert.deepEqual(
    [info.name, info.type, info.path, info.size, info.mode, info.permissions, info.owner, info.group],
    ['f', FileType.FILE, '/home/user/f', 5, 0o644, '-rw-r--r--', 'user', 'user'],
  )
  assert.ok(Math.abs(info.modifiedTime - Date.now()) < 30_000)
  assert.equal(info.symlinkTarget, undefined)
})

quick('a tree is made, listed, moved and removed', async (sandbox) => {
  assert.equal(await sandbox.files.makeDir('t/a/b'), true)
  assert.equal(await sandbox.files.makeDir('t/a/b'), false)
  await sandbox.files.write('t/f', 'x')
  const paths = async (depth) => (await sandbox.files.list('t', { depth })).map((entry) => entry.path.slice('/home/user/'.length))
  assert.deepEqual(await paths(1), ['t/a', 't/f'])
  assert.deepEqual(await paths(2), ['t/a', 't/a/b', 't/f'])
  assert.equal((await sandbox.files.rename('t/f', 't/a/b/c/g')).path, '/home/user/t/a/b/c/g')
  assert.equal(await sandbox.files.read('t/a/b/c/g'), 'x')
  await sandbox.files.remove('t')
  assert.equal(await sandbox.files.exists('t'), false)
})

quick('URLs that carry their permission lead to the file', async (sandbox) => {
  const up = await sandbox.uploadUrl('/tmp/up load', { useSignatureExpiration: 60 })
  const form = new FormData()
  form.append('file', 'content')
  const answer = await fetch(up, { method: 'POST', body: form })
  assert.deepEqual(await answer.json(), [{ name: 'up load', type: 'file', path: '/tmp/up load' }])
  const down = await sandbox.downloadUrl('/tmp/up load')
  assert.equal(await (await fetch(down)).text(), 'content')
  const forged = await fetch(down.replace(/signature=v1_.{5}/, 'signature=v1_AAAAA'))
  assert.deepEqual([forged.status, await forged.json()], [401, { code: 401, message: 'invalid signature' }])
})

long('a full disk is told apart', async () => {
  const sandbox = await Sandbox.create(small)
  try {
    await refused(NotEnoughSpaceError, () => sandbox.files.write('/tmp/big', new ArrayBuffer(64 << 20)))
  } finally {
    await sandbox.kill()
  }
})

long('watching is refused by name', async (sandbox) => {
  await refused(SandboxError, () => sandbox.files.watchDir('/tmp', () => {}), 'WatchDir')
})

long('what the user may not read is not read', async (sandbox) => {
  await sandbox.commands.run('echo secret > /tmp/closed; chmod 000 /tmp/closed')
  await refused(SandboxError, () => sandbox.files.read('/tmp/closed'), 'ermission denied')
})
