import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import koffi from 'koffi';
import {AGAIN, WANT_READ} from '../../../src/base/io-result.ts';
import {allocate} from '../../../src/ffi/libc/libc.ts';
import {CertificateStore, clientContextFor, collectLog, connectedTo, ecdsa} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('ec', {key: ecdsa});

const RECORD = 16_384;
const COUNT = 100;
const block = allocate(RECORD);

/* In a separate process, so that its memory is not measured. It sends two tickets after each handshake, and no data. */
const SERVER = `
	const {createServer} = require('node:tls');
	const {readFileSync} = require('node:fs');
	const [cert, key] = process.argv.slice(1).map(name => readFileSync(name));
	const server = createServer({cert, key}, socket => socket.on('error', () => undefined).resume());
	server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

async function silentServer(t: ExecutionContext): Promise<number> {
	const child = spawn(process.execPath, ['-e', SERVER, store.path('ec.cert'), store.path('ec.key')], {
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	t.teardown(() => child.kill('SIGKILL'));
	const [line] = (await once(child.stdout, 'data')) as [Buffer];
	return Number(line);
}

/** Bytes that are allocated with malloc(3). */
const allocated: () => number = (() => {
	const names = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split(' ');
	const struct = koffi.struct('mallinfo2', Object.fromEntries(names.map(name => [name, 'size_t'])));
	const mallinfo2 = koffi.load('libc.so.6').func('mallinfo2', struct, []);
	return () => {
		const {uordblks, hblkhd} = mallinfo2() as {readonly uordblks: number; readonly hblkhd: number};
		return uordblks + hblkhd;
	};
})();

/** A connection whose peer sends no more messages. */
async function idle(t: ExecutionContext, port: number, context: ReturnType<typeof clientContextFor>) {
	const connection = await connectedTo(t, port, context);
	connection.report();
	let messages = 0;
	while (messages < 2) {
		const result = connection.read(block.address, RECORD);
		messages += result === AGAIN ? 1 : 0;
		if (result === WANT_READ) {
			await delay(1);
		}
	}
}

test.serial('an idle connection has no record buffers after it has received tickets', async t => {
	collectLog();
	const port = await silentServer(t);
	const context = clientContextFor(t);
	for (let index = 0; index < 5; index++) {
		await idle(t, port, context);
	}

	const before = allocated();
	for (let index = 0; index < COUNT; index++) {
		await idle(t, port, context);
	}

	const each = (allocated() - before) / COUNT;
	t.log(`${Math.round(each)} bytes for each`);
	t.true(each > 4096 && each < 1.5 * RECORD);
});
