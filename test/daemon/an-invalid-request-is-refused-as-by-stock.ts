/*
 * smtp(8) must be refused before it passes the connection, and the log must have the reason
 * as stock logs it.
 */
import test, {type ExecutionContext} from 'ava';
import {printList} from '../../src/wire/attribute-list.ts';
import {Daemon, type HandoffOptions, statusOf} from '../helpers/daemon.ts';
import {peerFiles, tlsPeer} from '../helpers/remote-servers.ts';

const good = peerFiles();

let ours: Daemon;
let stock: Daemon;
test.before(async () => {
	[ours, stock] = await Promise.all([Daemon.start('ours'), Daemon.start('stock')]);
});
test.after.always(async () => {
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
});

/** The results that the client and the administrator see. */
interface Seen {
	readonly status: number;
	readonly report: boolean;
	readonly rest: string;
	readonly lines: readonly string[];
}

async function see(t: ExecutionContext, daemon: Daemon, options: HandoffOptions): Promise<Seen> {
	const session = await daemon.handOff(t, await tlsPeer(t, good, () => undefined), options);
	const {client, status, report} = session;
	client.socket.end();
	const rest = String(await client.rest());
	return {status, report: report !== undefined, rest, lines: await daemon.linesOf(session)};
}

const likeStock = test.macro<
	[what: string, options: HandoffOptions, expected: {status: number; report?: boolean}]
>({
	async exec(t, _, options, expected) {
		const expectedResult = await see(t, stock, options);
		t.like(expectedResult, {report: false, ...expected});
		const seen = await see(t, ours, options);
		t.deepEqual(seen, expectedResult);
	},
	title(_, what) {
		return `${what}: the result and the lines of stock`;
	},
});

test.serial(likeStock, 'an unknown protocol', {start: {protocols: 'TLSv9'}}, {status: 1});
test.serial(
	likeStock,
	'protocols without a common version',
	{start: {protocols: '>=TLSv1.3 <=TLSv1.2'}},
	{status: 1},
);
test.serial(likeStock, 'an unknown cipher grade', {start: {cipher_grade: 'excellent'}}, {status: 1});
test.serial(likeStock, 'a malformed cipher exclusion', {start: {cipher_exclusions: '!MD5'}}, {status: 1});
test.serial(likeStock, 'exclusions of all ciphers', {start: {cipher_exclusions: 'ALL'}}, {status: 1});
test.serial(likeStock, 'a server name that is too long', {start: {sni: 'x'.repeat(256)}}, {status: 1});
test.serial(likeStock, 'an unknown digest', {init: {mdalg: 'crc32'}, start: {mdalg: 'crc32'}}, {status: 0});
test.serial(likeStock, 'a request without a report', {request: {sendContext: false}}, {status: 1});

test.serial('a request for no role, or for both: status 0, and the lines of stock', async t => {
	for (const flags of [0, 3, 4]) {
		const seen: Array<readonly string[]> = [];
		for (const daemon of [stock, ours]) {
			const known = (await daemon.lines()).length;
			const client = await daemon.greeted(t);
			await client.send(
				printList([
					['remote_endpoint', '[192.0.2.1]:25'],
					['flags', String(flags)],
					['timeout', '10'],
					['timeout', '10'],
					['serverid', 'test'],
				]),
			);
			t.is(statusOf(await client.list()), 0);
			client.socket.end();
			t.is(String(await client.rest()), '');
			seen.push(await daemon.linesUpTo(/^DISCONNECT/, known));
		}

		t.deepEqual(seen[1], seen[0]);
	}
});
