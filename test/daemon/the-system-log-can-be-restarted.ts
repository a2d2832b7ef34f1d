/*
 * syslog(3) is where most hosts log to. It is opened before the jail, and opened again by
 * the C library when the log was restarted: a process in its jail must be allowed to.
 */
import {unlinkSync} from 'node:fs';
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';
import {receiver, withLog} from '../helpers/syslog.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const masked = (records: readonly string[], port: number): readonly string[] =>
	records.map(record =>
		record
			.replace(/^<(\d+)>.*? postfix-\d+\//, '<$1>')
			.replace(/\[\d+\]: /, '[PID]: ')
			.replaceAll(String(port), 'PORT')
			.replace(/ with cipher .*/, ''),
	);

const logs = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const first = receiver(t);
		const service = new Service(t, daemon, which, withLog(first.directory));
		const started = service.start('-o', 'maillog_file=', '-o', 'syslog_facility=local3');
		const received: string[] = [];
		const session = async (log: {records(): readonly string[]}): Promise<void> => {
			received.length = 0;
			const client = await service.session(t, port);
			t.true(await speaks(client));
			await finish(client);
			await daemon.sandbox.waitFor(() => {
				received.push(...log.records());
				return received.some(record => record.includes('DISCONNECT'));
			});
		};

		const lines = [
			'<158>tlsproxy[PID]: CONNECT to [127.0.0.1]:PORT',
			'<158>tlsproxy[PID]: Untrusted TLS connection established to test.example[127.0.0.1]:PORT: TLSv1.3',
			'<158>tlsproxy[PID]: DISCONNECT [127.0.0.1]:PORT',
		];
		await session(first);
		t.deepEqual(masked(received, port).slice(-3), lines);
		const {worker} = started;

		first.close();
		unlinkSync(first.path);
		await session(receiver(t, first.directory));
		t.deepEqual(masked(received, port), lines);
		t.is(started.worker, worker);
	},
	title(_, which) {
		return `${which}: records go to syslogd, and to the next when it was restarted`;
	},
});

test(logs, 'stock');
test(logs, 'ours');
