import test from 'ava';
import {openLog} from '../../src/log/log.ts';
import {logMask} from '../../src/tls/log-mask.ts';
import {postfix37} from '../helpers/openssl.ts';

const NONE = 1;
const SUMMARY = 2;
const UNTRUSTED = 4;
const PEERCERT = 8;
const CERTMATCH = 16;
const VERBOSE = 32;
const CACHE = 64;
const DEBUG = 128;
const TLSPKTS = 256;
const ALLPKTS = 512;
const DANE = 1024;

const converts = test.macro<[level: string, expected: number, ...lines: readonly string[]]>({
	exec(t, level, expected, ...lines) {
		const log: string[] = [];
		openLog({
			send(_severity, label, text) {
				log.push(label + text);
			},
		});
		t.is(logMask('smtp_tls_loglevel', level, postfix37), expected);
		t.deepEqual(log, lines);
	},
	title(_, level, expected) {
		return `logMask converts "${level}" to ${expected}`;
	},
});

test.serial(converts, '', 0);
test.serial(converts, ' ,\t', 0);
test.serial(converts, '0', NONE);
test.serial(converts, 'none', NONE);
test.serial(converts, '1', SUMMARY);
test.serial(converts, 'routine', SUMMARY);
test.serial(converts, '2', SUMMARY | VERBOSE | CACHE | DEBUG);
test.serial(converts, 'debug', SUMMARY | VERBOSE | CACHE | DEBUG);
test.serial(converts, '3', SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS);
test.serial(converts, 'ssl-expert', SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS);
for (const level of ['4', '5', '6', '7', '8', '9', 'ssl-developer']) {
	test.serial(converts, level, SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS | ALLPKTS);
}

test.serial(converts, 'summary', SUMMARY);
test.serial(converts, 'untrusted', UNTRUSTED);
test.serial(converts, 'peercert', PEERCERT);
test.serial(converts, 'certmatch', CERTMATCH);
test.serial(converts, 'verbose', VERBOSE);
test.serial(converts, 'cache', CACHE);
test.serial(converts, 'dane', DANE);
test.serial(converts, 'ssl-debug', DEBUG);
test.serial(converts, 'ssl-handshake-packet-dump', TLSPKTS);
test.serial(converts, 'ssl-session-packet-dump', TLSPKTS | ALLPKTS);
test.serial(converts, 'Summary, UNTRUSTED\tcache', SUMMARY | UNTRUSTED | CACHE);
test.serial(converts, '1 untrusted', SUMMARY | UNTRUSTED);
test.serial(converts, '1, bogus', 0, 'warning: unknown smtp_tls_loglevel value "bogus" in "1, bogus"');
test.serial(converts, '10', 0, 'warning: unknown smtp_tls_loglevel value "10" in "10"');
test.serial(converts, '-1', 0, 'warning: unknown smtp_tls_loglevel value "-1" in "-1"');
