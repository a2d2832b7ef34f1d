/*
 * Most hosts log to syslog(3). The log socket is opened before the chroot jail, and the C
 * library opens it again after syslogd was restarted: the system call filter must permit this.
 */
import {unlinkSync} from 'node:fs';
import test from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';
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

const logs = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const first = receiver(t);
		const service = new Service(t, daemon, which, withLog(first.directory));
		const started = service.start('-o', 'maillog_file=', '-o', 'syslog_facility=local3');
		const received: string[] = [];
		const session = async (log: {records(): readonly string[]}): Promise<void> => {
			received.length = 0;
			const client = await service.session(t, port);
			t.true(await echoes(client));
			await endSession(client);
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
		return `${which}: records go to syslogd, also after it was restarted`;
	},
});

test(logs, 'stock');
test(logs, 'ours');
