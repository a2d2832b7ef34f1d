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
import type {Seconds} from '../../src/base/units.ts';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon} from '../helpers/daemon.ts';
import {finish, speaks} from '../helpers/master.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {echoPeer, tcpPeer} from '../helpers/peer.ts';
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
		const echo = await echoPeer(t);
		const honest = await daemon.handOff(t, echo);
		t.true(await speaks(honest.client));
		const {pid} = daemon;
		const {client, report} = await daemon.handOff(t, await floodingPeer(t, version, flood));
		t.truthy(report);
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

test.serial(
	'a server that sends HelloRequest instead of ServerHello is served in turns with others',
	async t => {
		const echo = await echoPeer(t);
		const honest = await daemon.handOff(t, echo);
		t.true(await speaks(honest.client));
		const {pid} = daemon;
		/* 4096 of them in a record: OpenSSL skips them, and that is what each of them costs. */
		const record = Buffer.concat([Buffer.from([0x16, 3, 3, 0x40, 0]), Buffer.alloc(0x4000)]);
		const block = Buffer.concat(Array.from({length: 64}, () => record));
		const port = await tcpPeer(t, socket => {
			const more = (): void => {
				while (socket.write(block));
			};
			socket.on('drain', more);
			more();
		});
		const state = {over: false};
		const flooding = (async () => {
			/* It goes on until the time limit of the handshake, and no longer. */
			const {report} = await daemon.handOff(t, port, {request: {handshakeTimeout: 3 as Seconds}});
			t.is(report, undefined);
			state.over = true;
		})();
		let count = 0;
		while (!state.over && (await speaks(honest.client))) {
			count++;
		}

		await flooding;
		t.log(`${count} round trips meanwhile`);
		t.true(count >= 50, `${count} round trips`);
		t.is(daemon.pid, pid);
	},
);

test.serial(
	'a server that gives tickets without end has some of them kept, and others do not wait for it',
	async t => {
		const cached = await Daemon.start('ours', {
			main: {smtp_tls_session_cache_database: 'btree:$data_directory/smtp_scache'},
		});
		t.teardown(async () => await cached[Symbol.asyncDispose]());
		const echo = await echoPeer(t);
		const options = {init: {log_level: '2'}, start: {log_level: '2'}};
		const honest = await cached.handOff(t, echo, options);
		t.true(await speaks(honest.client));
		const port = await floodingPeer(t, TLS1_3_VERSION, tls => {
			for (let count = 0; count < 20_000; count++) {
				tls.ticket();
			}
		});
		const known = (await cached.lines()).length;
		const flooded = await cached.handOff(t, port, options);
		const {client, report} = flooded;
		t.truthy(report);
		const count = await roundTrips(honest.client, client, THROUGH.length);
		t.log(`${count} round trips meanwhile`);
		t.true(count >= 10, `${count} round trips`);
		const {endpoint} = flooded;
		await finish(client);
		const lines = (await cached.linesUpTo(`DISCONNECT ${endpoint}`)).slice(known);
		/* Two may be those of the other server: lines arrive late. */
		const saved = lines.filter(line => line.startsWith('save session ')).length;
		t.true(saved >= 8 && saved <= 10, `${saved} are kept`);
		t.deepEqual(
			lines.filter(line => line.startsWith('warning: ')),
			[],
		);
	},
);
