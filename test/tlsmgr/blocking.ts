/* While this program waits it does nothing else: the servers are other processes. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {type BlockingOptions, policyNow, seedNow} from '../../src/tlsmgr/blocking.ts';
import type {Milliseconds} from '../../src/units.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';

test.serial('the real tlsmgr is understood', async t => {
	const log = collectLog();
	await using sandbox = await Sandbox.create({
		tlsproxy: 'none',
		main: {smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache'},
	});
	await sandbox.start();
	const options = {path: join(sandbox.queueDirectory, 'private', 'tlsmgr'), greeting: true};
	const before = openDescriptors();
	t.deepEqual(policyNow(options, 'smtp'), {cachable: true, timeout: 3600});
	t.false(policyNow(options, 'lmtp')?.cachable);
	t.is(policyNow(options, 'none'), undefined);
	const seeds = [seedNow(options, 32), seedNow(options, 32)];
	t.deepEqual(
		seeds.map(seed => seed?.length),
		[32, 32],
	);
	t.notDeepEqual(seeds[0], seeds[1]);
	t.is(seedNow(options, 256), undefined);
	t.is(openDescriptors(), before);
	t.deepEqual(log, []);
});

/* The script has the socket, its number counted from 0, `greeting` and `policy`, and `cut`, which sends bytes one by one. */
const frame = `
const {createServer} = require('node:net');
const [, path, script] = process.argv;
const greeting = Buffer.from('protocol\\0tlsmgr_protocol\\0\\0');
const policy = Buffer.from('status\\0000\\0cachable\\0001\\0timeout\\00060\\0\\0');
const cut = (socket, bytes) => socket.write(bytes.subarray(0, 1), () =>
	bytes.length > 1 && setImmediate(cut, socket, bytes.subarray(1)));
const run = new Function('socket', 'index', 'greeting', 'policy', 'cut', script);
let index = 0;
createServer(socket => {
	socket.on('error', () => undefined);
	run(socket, index++, greeting, policy, cut);
}).listen(path, () => console.log('listening'));
`;

/** A server in a process of its own. */
async function served(t: ExecutionContext, script: string, limit?: number): Promise<BlockingOptions> {
	const directory = mkdtempSync(join(tmpdir(), 'tlsmgr-'));
	const path = join(directory, 'socket');
	const server = spawn(process.execPath, ['-e', frame, path, script], {stdio: ['ignore', 'pipe', 'inherit']});
	t.teardown(() => {
		server.kill();
		rmSync(directory, {recursive: true});
	});
	await once(server.stdout, 'data');
	return {path, greeting: true, ...(limit === undefined ? {} : {limit: limit as Milliseconds})};
}

const learns = test.macro<[what: string, script: string, options?: Partial<BlockingOptions>]>({
	async exec(t, _, script, options) {
		const log = collectLog();
		t.deepEqual(policyNow({...(await served(t, script)), ...options}, 'smtp'), {cachable: true, timeout: 60});
		t.deepEqual(log, []);
	},
	title(_, what) {
		return `policyNow learns the policy of a server that ${what}`;
	},
});
test.serial(learns, 'answers', 'socket.write(greeting); socket.on("data", () => socket.write(policy));');
test.serial(
	learns,
	'sends bytes one by one',
	'cut(socket, greeting); socket.on("data", () => cut(socket, policy));',
);
test.serial(
	learns,
	'is slow',
	'setTimeout(() => socket.write(greeting), 300); socket.on("data", () => cut(socket, policy));',
);
test.serial(learns, 'does not greet', 'socket.on("data", () => socket.write(policy));', {greeting: false});
test.serial(
	learns,
	'closes one connection at once',
	'if (index === 0) socket.end(); else { socket.write(greeting); socket.on("data", () => socket.write(policy)); }',
);
test.serial(
	learns,
	'closes one connection when it is asked',
	'socket.write(greeting); socket.on("data", () => index === 0 ? socket.end() : socket.write(policy));',
);

const fails = test.macro<[what: string, script: string, why: string]>({
	async exec(t, _, script, why) {
		const log = collectLog();
		const options = await served(t, script, 500);
		const before = openDescriptors();
		t.is(policyNow(options, 'smtp'), undefined);
		t.is(openDescriptors(), before);
		t.deepEqual(log, [`warning: problem talking to server ${options.path}: ${why}`]);
	},
	title(_, what) {
		return `policyNow knows nothing of a server that ${what}`;
	},
});
test.serial(fails, 'never says a word', '', 'Connection timed out');
test.serial(fails, 'never answers', 'socket.write(greeting);', 'Connection timed out');
test.serial(fails, 'closes', 'socket.end();', 'Connection closed by server');
test.serial(
	fails,
	'closes within a reply',
	'socket.write(greeting); socket.on("data", () => socket.end(policy.subarray(0, 9)));',
	'Connection closed by server',
);
test.serial(fails, 'is somebody else', 'socket.write(policy);', 'no greeting of tlsmgr');
test.serial(
	fails,
	'says more than it was asked',
	'socket.write(Buffer.concat([greeting, policy]));',
	'more than was asked for',
);
test.serial(
	fails,
	'answers something else',
	'socket.write(greeting); socket.on("data", () => socket.write("status\\0000\\0\\0"));',
	'tlsmgr reply: no timeout',
);
test.serial(
	fails,
	'answers without end',
	'socket.write(greeting); socket.on("data", () => socket.write(Buffer.alloc(100_000, 120)));',
	'attribute name or value exceeds 65536 bytes',
);

test.serial('without a server nothing is known, at once', t => {
	const log = collectLog();
	t.is(seedNow({path: '/nowhere/tlsmgr', greeting: true}, 32), undefined);
	t.deepEqual(log, [
		'warning: connect to /nowhere/tlsmgr: No such file or directory',
		'warning: problem talking to server /nowhere/tlsmgr: No such file or directory',
	]);
});
