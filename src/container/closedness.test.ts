import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { MountSchema } from '../proto/lacre/v1/record_pb.ts';
import { isExecutable, openMounts } from './closedness.ts';

const mount = (over: MessageInitShape<typeof MountSchema>) => create(MountSchema, { target: '/m', root: '/', ...over });

test('a mask is a read-only tmpfs of no size; another file system that says so can hold files', () => {
  const mask = { readOnly: true, superOptions: 'rw,size=0k' };
  assert.equal(isExecutable(mount({ ...mask, type: 'tmpfs' })), false);
  assert.equal(isExecutable(mount({ ...mask, type: 'ext4' })), true);
  assert.equal(isExecutable(mount({ ...mask, type: 'tmpfs', readOnly: false })), true);
});

test('the root is no open mount, whatever it is', () => {
  const open = mount({ type: 'ext4' });
  assert.deepEqual(openMounts([mount({ type: 'overlay', target: '/' }), open]), [open]);
});
