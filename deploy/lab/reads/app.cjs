// The lab's service in JavaScript: reads its settings and its job anew every second, as a server that reloads does.
const { spawn } = require('node:child_process');
const { readFileSync } = require('node:fs');

spawn('/bin/svid-follow', { stdio: ['ignore', 'inherit', 'inherit'] });
let said;
setInterval(() => {
  const settings = readFileSync('/etc/service.conf', 'utf8').trim();
  delete require.cache[require.resolve('/srv/job.js')];
  const message = require('/srv/job.js')(settings);
  if (message === said) return;
  said = message;
  console.log(JSON.stringify({ timeUnixMs: Date.now(), event: 'job', message }));
}, 1000);
