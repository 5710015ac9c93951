import { FileTable } from '../../src/appraisal/reference/file-table.ts';
import type { FuzzTarget } from './engine/target.ts';

const table = () =>
  FileTable.of(['/bin/a', '/bin/b', '/lib/c'].map((path) => ({ path, sha256: new Uint8Array(32), mode: 0o755 })));

export const target: FuzzTarget = {
  parsers: ['src/appraisal/reference/file-table.ts#decode'],
  seeds: () => [table().encode(), FileTable.of([]).encode()],
  words: ['/bin/', '/'],
  maxBytes: 2 << 20,
  fastMs: 300,
  run: (bytes) => {
    const decoded = FileTable.decode(bytes);
    return [decoded.get('/bin/a'), decoded.hasAtOrBelow('/lib'), [...decoded].length];
  },
};
