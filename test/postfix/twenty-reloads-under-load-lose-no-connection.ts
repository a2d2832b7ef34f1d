/*
 * Administrators reload Postfix during deliveries. This must not affect smtp(8): connections
 * that it has handed off continue, and the next ones are served.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {inject} from '../../postfix/lib/inject.ts';
import {LocalClient} from '../helpers/client.ts';
import {hasEnded} from '../helpers/processes.ts';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

const RELOADS = 20;
const MESSAGES = 2500;

test.serial(
	`${RELOADS} reloads, at most one per second, under load: no delivery fails, no client waits for long, no old process remains`,
	async t => {
		await using pair = await SenderAndSink.start(
			{main: {smtp_connection_cache_time_limit: '2s', max_idle: '5s'}},
			{delay: 60},
		);
		const {sandbox, sink} = pair;
		const all = messages(MESSAGES);
		const submitted = inject(sandbox.submissionPort, all, 10);
		t.true(await sandbox.waitFor(async () => (await sink.counts()).encryptedMessages > 20));

		/* A client that repeatedly waits for the greeting. */
		const end = new AbortController();
		let longest = 0;
		let greetings = 0;
		const polling = (async () => {
			while (!end.signal.aborted) {
				const start = performance.now();
				using client = await LocalClient.connect(`${sandbox.queueDirectory}/private/tlsproxy`);
				if ((await client.list()) !== undefined) {
					longest = Math.max(longest, performance.now() - start);
					greetings++;
				}

				await delay(20);
			}
		})();

		const seen = new Set<number>();
		const start = performance.now();
		let during = 0;
		for (let reload = 1; reload <= RELOADS; reload++) {
			/* Every reload ends a process that serves. On a slow machine the new one needs time to start. */
			const known = greetings;
			t.true(await sandbox.waitFor(() => greetings > known));
			for (const pid of sandbox.tlsproxyWorkers()) {
				seen.add(pid);
			}

			await sandbox.reload();
			during = (await sink.counts()).encryptedMessages;
			await delay(Math.max(0, start + reload * 1000 - performance.now()));
		}

		const took = performance.now() - start;
		end.abort();
		await polling;
		await submitted;
		/* qmgr(8) is replaced, too. The new one may not scan the queue before it is triggered. */
		t.true(
			await sandbox.waitFor(async () => {
				await sandbox.flush();
				return await pair.arrived(MESSAGES, 1000);
			}, 200_000),
			JSON.stringify([await sink.counts(), await sandbox.queue()]),
		);
		t.log(
			`${RELOADS} reloads in ${Math.round(took)} ms, ${during} messages by then, ${seen.size} processes; the longest wait for a greeting was ${Math.round(longest)} ms`,
		);
		t.true(longest < 30_000);
		t.true(seen.size > RELOADS / 2);

		/* No message failed, none arrived twice, and none in cleartext. */
		const report = await sink.report();
		t.is(report.clearMessages, 0);
		t.is(report.messages.length, MESSAGES);
		t.is(new Set(report.messages.flatMap(({to}) => to)).size, MESSAGES);
		t.deepEqual(await sandbox.logLines(/status=deferred|lost connection|handshake failed/i), []);
		t.deepEqual(await sandbox.logLines(/tlsproxy.*(exit status|killed)|throttl|panic|fatal|error:/), []);
		const old = [...seen];
		t.true(await sandbox.waitFor(() => old.every(hasEnded)));
		t.true(await sandbox.waitFor(() => sandbox.daemonPids('tlsproxy').length <= 2));
	},
);
