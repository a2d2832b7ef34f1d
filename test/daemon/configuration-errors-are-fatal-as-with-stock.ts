/*
 * A mistake in main.cf or master.cf is logged as by stock, so that administrators find
 * documentation about it. The supervisor then executes stock, which can serve if the error is
 * in a setting that only this program has, and otherwise logs the same. Exit status 1 causes
 * master(8) to wait before the next attempt.
 */
import test from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {Service} from '../helpers/master.ts';
import {minorRelease} from '../helpers/release.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/* Stock logs this after it has checked other parameters, and before it checks TLS parameters. */
const ROLE = 'warning: TLS server role is disabled with tlsproxy_tls_security_level or tlsproxy_use_tls';

const isFatal = test.macro<[options: readonly string[], fatal: string, ...warnings: readonly string[]]>({
	async exec(t, options, fatal, ...warnings) {
		const expected = [...warnings.map(text => `warning: ${text}`), `fatal: ${fatal}`].map(line =>
			line.replace('CONFIG', daemon.sandbox.configDirectory),
		);
		const run = async (which: Program): Promise<void> => {
			const started = new Service(t, daemon, which).start(...options);
			t.is(await started.end(), 1, which);
			const lines = (await started.linesUpTo(/^fatal: /)).filter(
				line => line !== ROLE && !line.startsWith('warning: using '),
			);
			t.deepEqual([...new Set(lines)], expected, which);
			t.deepEqual(started.reports, []);
			t.true(await started.gone());
		};
		await Promise.all([run('ours'), run('stock')]);
	},
	title(_, options) {
		return `${options.join(' ')} is fatal, with status 1 and the message of stock`;
	},
});

const nested = 'dictionary mail_dict: macro processing error';

test(isFatal, ['-o', 'max_use=none'], 'bad numerical configuration: max_use = none');
test(isFatal, ['-o', 'max_use='], 'bad numerical configuration: max_use = ');
test(isFatal, ['-o', 'max_use=99999999999'], 'bad numerical configuration: max_use = 99999999999');
test(isFatal, ['-o', 'max_use=0'], 'invalid max_use parameter value 0 < 1');
test(isFatal, ['-m', 'many'], 'bad numerical configuration: max_use = many');
test(
	isFatal,
	['-o', 'smtp_tls_scert_verifydepth=deep'],
	'bad numerical configuration: smtp_tls_scert_verifydepth = deep',
);
test(isFatal, ['-o', 'max_idle=5x'], 'parameter max_idle: bad time value or unit: 5x');
test(isFatal, ['-o', 'max_idle='], 'parameter max_idle: bad time value or unit: ');
test(isFatal, ['-i', 'soon'], 'invalid max_idle: 0 (min 1)');
test(isFatal, ['-o', 'tlsproxy_watchdog_timeout=2s'], 'invalid tlsproxy_watchdog_timeout: 2 (min 10)');
test(isFatal, ['-o', 'tlsproxy_use_tls=perhaps'], 'bad boolean configuration: tlsproxy_use_tls = perhaps');
test(isFatal, ['-o', 'tlsproxy_enforce_tls='], 'bad boolean configuration: tlsproxy_enforce_tls = ');
test(isFatal, ['-o', 'tls_append_default_CA=2'], 'bad boolean configuration: tls_append_default_CA = 2');
test(isFatal, ['-o', 'tls_high_cipherlist='], 'bad string length 0 < 1: tls_high_cipherlist = ');
test(isFatal, ['-o', 'tls_high_cipherlist=${'], nested, 'truncated macro reference: "${"');
test(isFatal, ['-o', 'max_use=$max_use'], nested, 'unreasonable macro call nesting: "max_use"');
test(
	isFatal,
	['-o', 'compatibility_level=x'],
	/* Since 3.6 a level is the number of a release. */
	minorRelease() < 6
		? 'bad numerical configuration: compatibility_level = x'
		: 'malformed compatibility level syntax: "x"',
);
test(
	isFatal,
	['-o', 'syslog_facility=local9'],
	'file CONFIG/main.cf: parameter syslog_facility: unrecognized value: local9',
);
test(
	isFatal,
	['-o', 'maillog_file=/elsewhere/log'],
	"maillog_file value '/elsewhere/log' does not match any prefix in maillog_file_prefixes",
);
test(isFatal, ['-Q'], 'invalid option: Q');
test(isFatal, ['-o'], 'invalid option: o');
test(isFatal, ['-o', 'junk'], `invalid "-o junk" option value: missing '=' after attribute name`);
test(isFatal, ['-o', '=x'], 'invalid "-o =x" option value: missing attribute name');
test(isFatal, ['-t', 'fifo'], 'unsupported transport type: fifo');
test(isFatal, ['-s', '0'], 'invalid socket_count: 0');
test(isFatal, ['-r', 'x'], 'invalid retirement time: x');
