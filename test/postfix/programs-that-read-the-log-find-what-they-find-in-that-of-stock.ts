/*
 * Administrators do not read their log, programs do: pflogsumm(1) makes the report of
 * the day. The same deliveries, by way of ours and of stock, must make the same report.
 */
import {globSync} from 'node:fs';
import {dirname, join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {inject} from '../../postfix/lib/inject.ts';
import {type Extracted, extract} from '../helpers/packages.ts';
import {messages, Pair} from '../helpers/postfix.ts';

/* How many processes serve depends on who comes when. */
const EACH_PROCESS = /^.* warning: TLS server role is disabled with .*\n/gm;

/** What differs from run to run: when, how long it took, where, and in how many processes. */
function masked(log: string, directory: string, port: number): string {
	return log
		.replaceAll(EACH_PROCESS, '')
		.replaceAll(directory, '/sandbox')
		.replaceAll(/^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d/gm, 'Nov 24 12:00:00')
		.replaceAll(/delay=[\d.]+, delays=[\d./]+/g, 'delay=1, delays=0.1/0.2/0.3/0.4')
		.replaceAll(String(port), '25');
}

/** The log of messages that are delivered, and of others that are not, because of what a server is. */
async function logOf(tlsproxy: 'ours' | 'stock'): Promise<string> {
	await using pair = await Pair.start({
		tlsproxy,
		main: {smtp_tls_loglevel: '1', smtp_connection_cache_time_limit: '1s'},
	});
	const {sandbox, sink} = pair;
	if (!(await pair.deliver(messages(6), 1))) {
		throw new Error(await sandbox.log());
	}

	/* Nobody has heard of who made the certificate. */
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

test('pflogsumm(1) reports the same of our log and of that of stock', async t => {
	const packages = await extract('pflogsumm');
	const [ours, stock] = [await logOf('ours'), await logOf('stock')];
	const report = await reportOf(packages, stock);
	t.regex(report, /^ +6 +delivered$/m);
	t.regex(report, /^ +2 +deferred/m);
	t.is(await reportOf(packages, ours), report);
	/* Without the lines of the program in question it would be the same, too: they are there. */
	for (const log of [ours, stock]) {
		t.regex(log, /postfix\/tlsproxy\[\d+\]: CONNECT to /);
	}
});
