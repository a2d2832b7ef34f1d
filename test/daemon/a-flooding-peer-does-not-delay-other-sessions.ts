/*
 * Key updates and renegotiation requests cost their sender almost nothing, and OpenSSL
 * processes them until application data arrives. A single peer that sends only such
 * messages could block the process until the watchdog ends it, and all sessions.
 *
 * Nothing here measures time: the tests count the round trips of another session during
 * the flood.
 */
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession} from '../helpers/master.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {type RawTls, rawTlsPeer, TLS1_2_VERSION, TLS1_3_VERSION} from '../helpers/raw-tls.ts';
import {echoPeer, tcpPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {key: ecdsa});
const files = {key: store.path('peer.key'), cert: store.path('peer.cert')};

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** Application data that is sent after the flood. */
const END_OF_FLOOD = 'end of flood';

/** A server that sends a flood after each handshake, and then application data. */
async function floodingPeer(
	t: ExecutionContext,
	version: number,
	flood: (tls: RawTls) => void,
): Promise<number> {
	return await rawTlsPeer(t, version, files, tls => {
		flood(tls);
		tls.write(Buffer.from(END_OF_FLOOD));
	});
}

/** Counts round trips of one session until the flooded session has received some bytes. */
async function roundTrips(session: LocalClient, flooded: LocalClient, bytes: number): Promise<number> {
	const state = {over: false};
	const waiting = (async () => {
		await flooded.bytes(bytes);
		state.over = true;
	})();
	let count = 0;
	while (!state.over && (await echoes(session))) {
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
		const other = await daemon.handOff(t, echo);
		t.true(await echoes(other.client));
		const {pid} = daemon;
		const {client, report} = await daemon.handOff(t, await floodingPeer(t, version, flood));
		t.truthy(report);
		const count = await roundTrips(other.client, client, bytes + END_OF_FLOOD.length);
		t.log(`${count} round trips meanwhile`);
		/* If the flood is processed in a single call, there is at most one before and one after it. */
		t.true(count >= 10, `${count} round trips`);
		t.is(daemon.pid, pid);
	},
	title(_, what) {
		return `a peer that sends ${what} does not delay another session`;
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
test.serial(delaysNobody, 'a hundred thousand renegotiation requests', TLS1_2_VERSION, tls => {
	for (let count = 0; count < 100_000; count++) {
		tls.renegotiate();
	}
});

test.serial(
	'a server that sends HelloRequest instead of ServerHello does not delay another session',
	async t => {
		const echo = await echoPeer(t);
		const other = await daemon.handOff(t, echo);
		t.true(await echoes(other.client));
		const {pid} = daemon;
		/* A record holds 4096 of them. OpenSSL skips them one by one. */
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
			/* It lasts until the handshake time limit. */
			const {report} = await daemon.handOff(t, port, {request: {handshakeTimeout: 3 as Seconds}});
			t.is(report, undefined);
			state.over = true;
		})();
		let count = 0;
		while (!state.over && (await echoes(other.client))) {
			count++;
		}

		await flooding;
		t.log(`${count} round trips meanwhile`);
		t.true(count >= 50, `${count} round trips`);
		t.is(daemon.pid, pid);
	},
);

test.serial('of a flood of tickets only some are stored, and another session is not delayed', async t => {
	const cached = await Daemon.start('ours', {
		main: {smtp_tls_session_cache_database: 'btree:$data_directory/smtp_scache'},
	});
	t.teardown(async () => await cached[Symbol.asyncDispose]());
	const echo = await echoPeer(t);
	/* Not level 2: it logs several lines per ticket, more than the log queue holds. */
	const options = {init: {log_level: 'cache'}, start: {log_level: 'cache'}};
	const other = await cached.handOff(t, echo, options);
	t.true(await echoes(other.client));
	const port = await floodingPeer(t, TLS1_3_VERSION, tls => {
		for (let count = 0; count < 20_000; count++) {
			tls.ticket();
		}
	});
	const known = (await cached.lines()).length;
	const flooded = await cached.handOff(t, port, options);
	const {client, report} = flooded;
	t.truthy(report);
	const count = await roundTrips(other.client, client, END_OF_FLOOD.length);
	t.log(`${count} round trips meanwhile`);
	t.true(count >= 10, `${count} round trips`);
	const {endpoint} = flooded;
	await endSession(client);
	const lines = (await cached.linesUpTo(`DISCONNECT ${endpoint}`)).slice(known);
	/* Two of them may be those of the other server, since lines are logged late. */
	const saved = lines.filter(line => line.startsWith('save session ')).length;
	t.true(saved >= 8 && saved <= 10, `${saved} are stored`);
	t.deepEqual(
		lines.filter(line => line.startsWith('warning: ')),
		[],
	);
});
