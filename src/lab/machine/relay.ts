import { connect } from 'node:net';

// One connection of the node to the lab's server: QEMU starts this program for each, with the connection as its
// standard input and output. Arguments: host and port.
const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const server = connect({ host, port: Number(port), noDelay: true });
const end = () => process.exit(0);
process.stdin.pipe(server);
server.pipe(process.stdout);
server.on('error', end).on('close', end);
process.stdin.on('error', end).on('close', end);
process.stdout.on('error', end);
