// Drives a server with the official SDK: node conform.js http://127.0.0.1:8301
'use strict';

const assert = require('assert');
const { createHash } = require('crypto');
const Client = require('@alicloud/mns');

const client = new Client('1234567890', {
  accessKeyId: 'ak', accessKeySecret: 'sk', region: 'cn-hangzhou', endpoint: process.argv[2],
});
const md5 = (text) => createHash('md5').update(text, 'utf8').digest('hex').toUpperCase();

// refused expects a call to fail with a code of the service.
async function refused(code, call) {
  try {
    await call();
  } catch (err) {
    assert.strictEqual(err.name, `MNS${code}Error`);
    return;
  }
  assert.fail(`not refused with ${code}`);
}

async function queues() {
  let res = await client.createQueue('node-q', { VisibilityTimeout: 20 });
  assert.strictEqual(res.code, 201);
  assert.ok(res.headers.location.endsWith('/queues/node-q'));
  res = await client.createQueue('node-q', { VisibilityTimeout: 20 });
  assert.strictEqual(res.code, 204);
  await refused('QueueAlreadyExist', () => client.createQueue('node-q', { VisibilityTimeout: 21 }));
  res = await client.setQueueAttributes('node-q', { DelaySeconds: 0, PollingWaitSeconds: 0 });
  assert.strictEqual(res.code, 204);
  res = await client.getQueueAttributes('node-q');
  assert.strictEqual(res.body.VisibilityTimeout, '20');
  assert.strictEqual(res.body.LoggingEnabled, 'False');
  await client.createQueue('node-r');
  res = await client.listQueue(undefined, 1, 'node-');
  assert.ok(res.body[0].QueueURL.endsWith('/queues/node-q'));
  await refused('QueueNotExist', () => client.getQueueAttributes('node-none'));
}

async function messages() {
  await refused('MessageNotExist', () => client.receiveMessage('node-q'));
  const body = '弹幕 <b>&"\'</b> \r\n😀';
  // The SDK does not escape.
  const escaped = body.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/\r/g, '&#13;');
  let res = await client.sendMessage('node-q', { MessageBody: escaped, DelaySeconds: 0, Priority: 3 });
  assert.strictEqual(res.code, 201);
  assert.strictEqual(res.body.MessageBodyMD5, md5(body));
  res = await client.peekMessage('node-q');
  assert.strictEqual(res.body.MessageBody, body);
  res = await client.receiveMessage('node-q', 5);
  assert.strictEqual(res.body.MessageBody, body);
  assert.strictEqual(res.body.Priority, '3');
  assert.strictEqual(res.body.DequeueCount, '1');
  const changed = await client.changeMessageVisibility('node-q', res.body.ReceiptHandle, 30);
  assert.strictEqual(changed.code, 200);
  await refused('MessageNotExist', () => client.deleteMessage('node-q', res.body.ReceiptHandle));
  const gone = await client.deleteMessage('node-q', changed.body.ReceiptHandle);
  assert.strictEqual(gone.code, 204);
  await refused('ReceiptHandleError', () => client.deleteMessage('node-q', '1-garbage=='));
}

async function batches() {
  const many = [];
  for (let i = 0; i < 3; i++) many.push({ MessageBody: `line ${i}` });
  let res = await client.batchSendMessage('node-q', many);
  assert.strictEqual(res.code, 201);
  assert.strictEqual(res.body.length, 3);
  res = await client.batchPeekMessage('node-q', 16);
  assert.deepStrictEqual(res.body.map((m) => m.MessageBody), ['line 0', 'line 1', 'line 2']);
  res = await client.batchReceiveMessage('node-q', 16, 5);
  const handles = res.body.map((m) => m.ReceiptHandle);
  assert.strictEqual(handles.length, 3);
  res = await client.batchDeleteMessage('node-q', [handles[0], handles[1]]);
  assert.strictEqual(res.code, 204);
  res = await client.batchDeleteMessage('node-q', [handles[0], handles[2]]);
  assert.strictEqual(res.code, 404);
  assert.strictEqual(res.body[0].ErrorCode, 'MessageNotExist');
  assert.strictEqual(res.body[0].ReceiptHandle, handles[0]);
}

async function longPoll() {
  const start = Date.now();
  const [got] = await Promise.all([
    client.receiveMessage('node-q', 10),
    new Promise((resolve) => setTimeout(resolve, 200)).then(() => client.sendMessage('node-q', { MessageBody: 'wake' })),
  ]);
  assert.strictEqual(got.body.MessageBody, 'wake');
  assert.ok(Date.now() - start < 5000);
}

async function topics() {
  let res = await client.createTopic('node-t');
  assert.strictEqual(res.code, 201);
  res = await client.setTopicAttributes('node-t', { MaximumMessageSize: 2048 });
  assert.strictEqual(res.code, 204);
  res = await client.getTopicAttributes('node-t');
  assert.strictEqual(res.body.MaximumMessageSize, '2048');
  res = await client.listTopic(undefined, 10, 'node-');
  assert.ok(res.body[0].TopicURL.endsWith('/topics/node-t'));
  const attributes = { WebSocket: { ImportanceLevel: 4 } };
  res = await client.publishMessage('node-t', { MessageBody: 'live', MessageTag: 'a', MessageAttributes: attributes });
  assert.strictEqual(res.code, 201);
  assert.strictEqual(res.body.MessageBodyMD5, md5('live'));
  await refused('TopicNotExist', () => client.publishMessage('node-none', { MessageBody: 'x' }));
}

async function main() {
  await queues();
  await messages();
  await batches();
  await longPoll();
  await topics();
  const res = await client.deleteQueue('node-q');
  assert.strictEqual(res.code, 204);
  const other = new Client('1', { accessKeyId: 'ak', accessKeySecret: 'wrong', endpoint: process.argv[2] });
  await refused('SignatureDoesNotMatch', () => other.getQueueAttributes('node-q'));
}

main().then(() => process.exit(0), (err) => { console.error(err); process.exit(1); });
