/*
 * What the Internet sends where a ClientHello is due: nothing that it sends may end
 * the process, or leave anything behind in it, and the log says what stock says.
 *
 * HELLOS and SEED set how many, and which; the same seed makes the same bytes.
 */
import {readFileSync} from 'node:fs';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {converse, FrontDoor, many, serverRole} from '../helpers/front-door.ts';
import {goodHellos, mutate, Random} from '../helpers/mutation.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';

const TOTAL = Number(process.env['HELLOS'] ?? 10_000);
const SEED = Number(process.env['SEED'] ?? 20_261_124);
/** Of those, how many stock gets too. */
const SAMPLE = Math.min(400, TOTAL);
/** What the allocators may keep for themselves, however many there are. */
const GROWTH_LIMIT = 32 * 1024 * 1024;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});
const main = serverRole(store.path('server.key'), store.path('server.cert'));

/* The random part of a hello is the same in each run, too. */
const hellos = goodHellos().map(hello => Buffer.from(hello).fill(7, 11, 43));
const mutated = (index: number): Buffer => mutate(hellos, new Random(SEED + index));
const endpoint = (index: number): string => `[192.0.2.1]:${index}`;

/* A client says its piece and has nothing to add. */
async function present(t: ExecutionContext, door: FrontDoor, index: number): Promise<void> {
	const {remote, local, status} = await door.visit(endpoint(index));
	t.is(status, 1);
	remote.resume();
	remote.end(mutated(index));
	t.is(String(await local.rest()), '', `SEED=${SEED}, number ${index}: ${mutated(index).toString('hex')}`);
	local[Symbol.dispose]();
	remote.destroy();
}

test.serial(`${TOTAL} mutated hellos leave the process as it was`, async t => {
	await using daemon = await Daemon.start('ours', {main});
	const door = await FrontDoor.open(t, daemon);
	await converse(t, await door.visit('[198.51.100.1]:25'));
	const {pid} = daemon;
	const descriptors = await daemon.descriptorsUpTo(39);
	await many(TOTAL / 2, async index => await present(t, door, index));
	await daemon.descriptorsUpTo(descriptors);
	const memory = daemon.memory();
	await many(TOTAL / 2, async index => await present(t, door, TOTAL / 2 + index));
	/* Connections to tlsmgr(8) may be gone by then. */
	t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors are left over');
	t.is(daemon.pid, pid, `SEED=${SEED}`);
	const growth = daemon.memory() - memory;
	t.log(`${Math.round(growth / 1024)} kB more after the second half`);
	t.true(growth < GROWTH_LIMIT);
	await converse(t, await door.visit('[198.51.100.1]:25'));
	const log = (): string => readFileSync(daemon.sandbox.logFile, 'utf8');
	/* Whatever comes, its session is told to have ended. */
	const ends = (): number => (log().match(/ DISCONNECT \[192\.0\.2\.1\]:\d+$/gm) ?? []).length;
	t.true(await daemon.sandbox.waitFor(() => ends() === TOTAL), `${ends()} ends`);
	t.false(/panic|fatal|session \[/.test(log()), 'a fault of our own');
});

test.serial(`${SAMPLE} mutated hellos are logged as with stock`, async t => {
	await using ours = await Daemon.start('ours', {main});
	await using stock = await Daemon.start('stock', {main});
	const linesOf = async (daemon: Daemon): Promise<ReadonlyMap<string, readonly string[]>> => {
		const door = await FrontDoor.open(t, daemon);
		for (let index = 0; index < SAMPLE; index++) {
			await present(t, door, index);
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
	const [mine, theirs] = [await linesOf(ours), await linesOf(stock)];
	t.is(theirs.size, SAMPLE);
	t.is(mine.size, SAMPLE);
	const kinds = new Set<string>();
	for (let index = 0; index < SAMPLE; index++) {
		const key = `CONNECT from ${endpoint(index)}`;
		t.deepEqual(
			mine.get(key),
			theirs.get(key),
			`SEED=${SEED}, number ${index}: ${mutated(index).toString('hex')}`,
		);
		kinds.add((theirs.get(key) ?? []).find(line => line.startsWith('warning: ')) ?? 'none');
	}

	t.log(`${kinds.size} kinds of warnings`);
	t.true(kinds.size > 10, 'all of them end early');
});
