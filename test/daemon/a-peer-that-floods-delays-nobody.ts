/*
 * Messages that are not data - key updates, wishes to renegotiate - cost the peer
 * that sends them nothing, and OpenSSL reads them until there is data. One peer
 * that sends nothing else could keep the whole process, until its watchdog ends
 * it and every session.
 *
 * Nothing here measures time: what counts is how often another session has been
 * served by the time the flood is through.
 */
import type {Socket} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon} from '../helpers/daemon.ts';
import {speaks} from '../helpers/master.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {tcpPeer, tlsPeer} from '../helpers/peer.ts';
import {RawTls, TLS1_2_VERSION, TLS1_3_VERSION} from '../helpers/raw-tls.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {key: ecdsa});
const files = {key: store.path('peer.key'), cert: store.path('peer.cert')};

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** What is behind the flood. */
const THROUGH = 'through';

/** A server that floods whoever has completed a handshake, and then says something. */
async function floodingPeer(
	t: ExecutionContext,
	version: number,
	flood: (tls: RawTls) => void,
): Promise<number> {
	return await tcpPeer(t, (socket: Socket) => {
		const tls = new RawTls(version, files);
		t.teardown(() => tls[Symbol.dispose]());
		let done = false;
		socket.on('data', (bytes: Buffer) => {
			tls.feed(bytes);
			if (!done && tls.handshake()) {
				done = true;
				flood(tls);
				tls.write(Buffer.from(THROUGH));
			}

			socket.write(tls.take());
		});
	});
}

/** Round trips of a session until some bytes, the last of them, have come to another. */
async function roundTrips(session: LocalClient, flooded: LocalClient, bytes: number): Promise<number> {
	const state = {through: false};
	const waiting = (async () => {
		await flooded.bytes(bytes);
		state.through = true;
	})();
	let count = 0;
	while (!state.through && (await speaks(session))) {
		count++;
	}

	await waiting;
	return count;
}

const delaysNobody = test.macro<
	[what: string, version: number, flood: (tls: RawTls) => void, bytes?: number]
>({
	async exec(t, _, version, flood, bytes = 0) {
		const echo = await tlsPeer(t, {key: store.read('peer.key'), cert: store.read('peer.cert')}, socket =>
			socket.pipe(socket),
		);
		const honest = await daemon.handOff(t, echo);
		t.true(await speaks(honest.client));
		const {pid} = daemon;
		const {client, context} = await daemon.handOff(t, await floodingPeer(t, version, flood));
		t.truthy(context);
		const count = await roundTrips(honest.client, client, bytes + THROUGH.length);
		t.log(`${count} round trips meanwhile`);
		/* As long as the flood is one call, there is one at most before it and one behind. */
		t.true(count >= 10, `${count} round trips`);
		t.is(daemon.pid, pid);
	},
	title(_, what) {
		return `a peer that sends ${what} is served in turns with others`;
	},
});

test.serial(delaysNobody, 'a hundred thousand key updates', TLS1_3_VERSION, tls => {
	for (let count = 0; count < 100_000; count++) {
		tls.keyUpdate(false);
	}
});
test.serial(
	delaysNobody,
	'a hundred thousand records of one byte',
	TLS1_2_VERSION,
	tls => {
		const byte = Buffer.from('x');
		for (let count = 0; count < 100_000; count++) {
			tls.write(byte);
		}
	},
	100_000,
);
test.serial(delaysNobody, 'a hundred thousand wishes to renegotiate', TLS1_2_VERSION, tls => {
	for (let count = 0; count < 100_000; count++) {
		tls.renegotiate();
	}
});
