/*
 * pflogsumm(1) makes a daily report from the log. The same deliveries with either program
 * must result in the same report.
 */
import {globSync} from 'node:fs';
import {dirname, join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {inject} from '../../postfix/lib/inject.ts';
import {type Extracted, extract} from '../helpers/packages.ts';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

/* This line is logged once per process, and the number of processes varies. */
const EACH_PROCESS = /^.* warning: TLS server role is disabled with .*\n/gm;

/** Masks times, durations, places and the number of processes, which differ from run to run. */
function masked(log: string, directory: string, port: number): string {
	return log
		.replaceAll(EACH_PROCESS, '')
		.replaceAll(directory, '/sandbox')
		.replaceAll(/^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d/gm, 'Nov 24 12:00:00')
		.replaceAll(/delay=[\d.]+, delays=[\d./]+/g, 'delay=1, delays=0.1/0.2/0.3/0.4')
		.replaceAll(String(port), '25');
}

/** The log of some messages that are delivered, and of others that are deferred. */
async function logOf(tlsproxy: 'ours' | 'stock'): Promise<string> {
	await using pair = await SenderAndSink.start({
		tlsproxy,
		main: {smtp_tls_loglevel: '1', smtp_connection_cache_time_limit: '1s'},
	});
	const {sandbox, sink} = pair;
	if (!(await pair.deliver(messages(6), 1))) {
		throw new Error(await sandbox.log());
	}

	/* The CA of the server is not trusted. */
	await sandbox.postconf('smtp_tls_security_level', 'verify');
	await sandbox.reload();
	await inject(sandbox.submissionPort, messages(2), 1);
	const has = async (count: number, pattern: RegExp): Promise<boolean> =>
		(await sandbox.logLines(pattern)).length >= count;
	await sandbox.waitFor(async () => await has(2, /status=deferred/));
	await sandbox.waitFor(async () => await has(2, /tlsproxy\[\d+\]: DISCONNECT/));
	return masked(await sandbox.log(), sandbox.directory, sink.port);
}

async function reportOf(packages: Extracted, log: string): Promise<string> {
	const root = dirname(dirname(dirname(packages.program('pflogsumm'))));
	const libraries = globSync([join(root, 'usr/share/perl5'), join(root, 'usr/lib/*/perl5/*')]);
	const {stdout} = await execa('perl', [packages.program('pflogsumm'), '--verbose-msg-detail', '-'], {
		input: log,
		env: {PERL5LIB: libraries.join(':')},
	});
	return stdout;
}

test('pflogsumm(1) makes the same report as with stock', async t => {
	const packages = await extract('pflogsumm');
	const [ours, stock] = [await logOf('ours'), await logOf('stock')];
	const report = await reportOf(packages, stock);
	t.regex(report, /^ +6 +delivered$/m);
	t.regex(report, /^ +2 +deferred/m);
	t.is(await reportOf(packages, ours), report);
	/* The reports would also be equal if tlsproxy(8) had not logged anything. */
	for (const log of [ours, stock]) {
		t.regex(log, /postfix\/tlsproxy\[\d+\]: CONNECT to /);
	}
});
