/*
 * A peer that gets no close_notify cannot tell the end from an attack, and one that
 * gets two may answer with a reset. Counted on the wire, as records of an alert.
 */
import type {Socket} from 'node:net';
import type {TLSSocket} from 'node:tls';
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {peerFiles, relay, tlsPeer} from '../helpers/peer.ts';

const good = peerFiles();

let daemons: Readonly<Record<Which, Daemon>>;
test.before(async () => {
	const [ours, stock] = await Promise.all([Daemon.start('ours'), Daemon.start('stock')]);
	daemons = {ours, stock};
});
test.after.always(async () => {
	await Promise.all([daemons.ours[Symbol.asyncDispose](), daemons.stock[Symbol.asyncDispose]()]);
});

const HEAD_SIZE = 5;
/** Record types of the TLS record protocol: RFC 8446, section 5.1. */
const ALERT = 21;
const APPLICATION_DATA = 23;
/** Bytes of an alert of TLS 1.3 on the wire: level, description, real type, tag. */
const SEALED_ALERT_SIZE = 2 + 1 + 16;

/** How many alerts there are in what was sent. */
function alertsIn(bytes: Buffer): number {
	let count = 0;
	for (let at = 0; at + HEAD_SIZE <= bytes.length; ) {
		const type = bytes.readUInt8(at);
		const size = bytes.readUInt16BE(at + 3);
		count += Number(type === ALERT || (type === APPLICATION_DATA && size === SEALED_ALERT_SIZE));
		at += HEAD_SIZE + size;
	}

	return count;
}

/** What one session leaves behind. */
interface Traces {
	readonly alerts: number;
	/** What the client has got. */
	readonly received: string;
	readonly lines: readonly string[];
}

/** One session: the peer or the client ends it, after the other has got all of its text. */
async function session(
	t: ExecutionContext,
	which: Which,
	version: 'TLSv1.2' | 'TLSv1.3',
	end: (ends: {readonly peer: TLSSocket; readonly local: Socket}) => void,
): Promise<Traces> {
	const sent: Buffer[] = [];
	let peer: TLSSocket | undefined;
	const behind = await tlsPeer(t, {...good, minVersion: version, maxVersion: version}, socket => {
		peer = socket;
		socket.resume();
	});
	const path = await relay(t, behind);
	const daemon = daemons[which];
	const handed = await daemon.handOff(t, path.port);
	t.is(handed.report?.cipher_protocol, version);
	path.ends.client?.on('data', (bytes: Buffer) => sent.push(bytes));
	await handed.client.send('first');
	t.true(await daemon.sandbox.waitFor(() => (peer?.bytesRead ?? 0) >= 5));
	if (peer !== undefined) {
		end({peer, local: handed.client.socket});
	}

	const received = String(await handed.client.rest());
	const lines = await daemon.linesOf(handed);
	/* The last bytes may still be on their way through the relay. */
	await daemon.sandbox.waitFor(() => path.ends.client?.readableEnded === true);
	return {alerts: alertsIn(Buffer.concat(sent)), received, lines};
}

const endings = {
	'that the client ends': [({local}: {local: Socket}) => local.end(), 1, ''],
	'that the peer ends': [({peer}: {peer: TLSSocket}) => peer.end(), 0, ''],
	'that the peer ends after its last words': [
		({peer}: {peer: TLSSocket}) => peer.end('221 '.repeat(50_000)),
		0,
		'221 '.repeat(50_000),
	],
} as const;

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
	for (const [how, [end, alerts, text]] of Object.entries(endings)) {
		test.serial(
			`${version}: in a session ${how} the peer gets ${alerts} close_notify, as with stock`,
			async t => {
				const stock = await session(t, 'stock', version, end);
				t.deepEqual(await session(t, 'ours', version, end), stock);
				t.is(stock.alerts, alerts);
				t.is(stock.received.length, text.length);
			},
		);
	}
}
