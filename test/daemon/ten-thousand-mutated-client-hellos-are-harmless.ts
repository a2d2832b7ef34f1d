/*
 * Malformed data in place of a ClientHello. It must not end the process or leak resources,
 * and it is logged as by stock.
 *
 * The environment variables HELLOS and SEED set their number and the seed; the same seed
 * makes the same bytes.
 */
import {readFileSync} from 'node:fs';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {goodHellos, mutate, Random} from '../helpers/mutation.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {
	completeSession,
	RemoteListener,
	runConcurrently,
	serverRoleParameters,
} from '../helpers/remote-clients.ts';

const TOTAL = Number(process.env['HELLOS'] ?? 10_000);
const SEED = Number(process.env['SEED'] ?? 20_261_124);
/** How many of them stock gets, too. */
const SAMPLE = Math.min(400, TOTAL);
/** Memory that the allocators may retain, regardless of TOTAL, in bytes. */
const GROWTH_LIMIT = 32 * 1024 * 1024;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});
const main = serverRoleParameters(store.path('server.key'), store.path('server.cert'));

/* The random field of a ClientHello is also the same in each run. */
const hellos = goodHellos().map(hello => Buffer.from(hello).fill(7, 11, 43));
const mutated = (index: number): Buffer => mutate(hellos, new Random(SEED + index));
const endpoint = (index: number): string => `[192.0.2.1]:${index}`;

/* One client that sends its data and closes. */
async function sendMutated(t: ExecutionContext, door: RemoteListener, index: number): Promise<void> {
	const {remote, local, status} = await door.visit(endpoint(index));
	t.is(status, 1);
	remote.resume();
	remote.end(mutated(index));
	t.is(String(await local.rest()), '', `SEED=${SEED}, number ${index}: ${mutated(index).toString('hex')}`);
	local[Symbol.dispose]();
	remote.destroy();
}

test.serial(`${TOTAL} mutated ClientHellos leak nothing`, async t => {
	await using daemon = await Daemon.start('ours', {main});
	const door = await RemoteListener.open(t, daemon);
	await completeSession(t, await door.visit('[198.51.100.1]:25'));
	const {pid} = daemon;
	const descriptors = await daemon.descriptorsUpTo(39);
	await runConcurrently(TOTAL / 2, async index => await sendMutated(t, door, index));
	await daemon.descriptorsUpTo(descriptors);
	const memory = daemon.memory();
	await runConcurrently(TOTAL / 2, async index => await sendMutated(t, door, TOTAL / 2 + index));
	/* Connections to tlsmgr(8) may be closed by then. */
	t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors leak');
	t.is(daemon.pid, pid, `SEED=${SEED}`);
	const growth = daemon.memory() - memory;
	t.log(`${Math.round(growth / 1024)} kB more after the second half`);
	t.true(growth < GROWTH_LIMIT);
	await completeSession(t, await door.visit('[198.51.100.1]:25'));
	const log = (): string => readFileSync(daemon.sandbox.logFile, 'utf8');
	/* The end of every session is logged. */
	const ends = (): number => (log().match(/ DISCONNECT \[192\.0\.2\.1\]:\d+$/gm) ?? []).length;
	t.true(await daemon.sandbox.waitFor(() => ends() === TOTAL), `${ends()} ends`);
	t.false(/panic|fatal|session \[/.test(log()), 'an internal error');
});

test.serial(`${SAMPLE} mutated ClientHellos are logged as by stock`, async t => {
	await using ours = await Daemon.start('ours', {main});
	await using stock = await Daemon.start('stock', {main});
	const linesOf = async (daemon: Daemon): Promise<ReadonlyMap<string, readonly string[]>> => {
		const door = await RemoteListener.open(t, daemon);
		for (let index = 0; index < SAMPLE; index++) {
			await sendMutated(t, door, index);
		}

		const sessions = new Map<string, string[]>();
		const end = `DISCONNECT ${endpoint(SAMPLE - 1)}`;
		let current: string[] = [];
		for (const line of await daemon.linesUpTo(end)) {
			if (line.startsWith('CONNECT ')) {
				current = [];
				sessions.set(line, current);
			}

			current.push(line);
		}

		return sessions;
	};
	const [ourLines, stockLines] = [await linesOf(ours), await linesOf(stock)];
	t.is(stockLines.size, SAMPLE);
	t.is(ourLines.size, SAMPLE);
	const kinds = new Set<string>();
	for (let index = 0; index < SAMPLE; index++) {
		const key = `CONNECT from ${endpoint(index)}`;
		t.deepEqual(
			ourLines.get(key),
			stockLines.get(key),
			`SEED=${SEED}, number ${index}: ${mutated(index).toString('hex')}`,
		);
		kinds.add((stockLines.get(key) ?? []).find(line => line.startsWith('warning: ')) ?? 'none');
	}

	t.log(`${kinds.size} kinds of warnings`);
	t.true(kinds.size > 10, 'the mutations are too simple');
});
