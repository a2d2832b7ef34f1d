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

const gives = test.macro<[level: string, expected: number, ...lines: readonly string[]]>({
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
		return `logMask makes ${expected} of "${level}"`;
	},
});

test.serial(gives, '', 0);
test.serial(gives, ' ,\t', 0);
test.serial(gives, '0', NONE);
test.serial(gives, 'none', NONE);
test.serial(gives, '1', SUMMARY);
test.serial(gives, 'routine', SUMMARY);
test.serial(gives, '2', SUMMARY | VERBOSE | CACHE | DEBUG);
test.serial(gives, 'debug', SUMMARY | VERBOSE | CACHE | DEBUG);
test.serial(gives, '3', SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS);
test.serial(gives, 'ssl-expert', SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS);
for (const level of ['4', '5', '6', '7', '8', '9', 'ssl-developer']) {
	test.serial(gives, level, SUMMARY | VERBOSE | CACHE | DEBUG | TLSPKTS | ALLPKTS);
}

test.serial(gives, 'summary', SUMMARY);
test.serial(gives, 'untrusted', UNTRUSTED);
test.serial(gives, 'peercert', PEERCERT);
test.serial(gives, 'certmatch', CERTMATCH);
test.serial(gives, 'verbose', VERBOSE);
test.serial(gives, 'cache', CACHE);
test.serial(gives, 'dane', DANE);
test.serial(gives, 'ssl-debug', DEBUG);
test.serial(gives, 'ssl-handshake-packet-dump', TLSPKTS);
test.serial(gives, 'ssl-session-packet-dump', TLSPKTS | ALLPKTS);
test.serial(gives, 'Summary, UNTRUSTED\tcache', SUMMARY | UNTRUSTED | CACHE);
test.serial(gives, '1 untrusted', SUMMARY | UNTRUSTED);
test.serial(gives, '1, bogus', 0, 'warning: unknown smtp_tls_loglevel value "bogus" in "1, bogus"');
test.serial(gives, '10', 0, 'warning: unknown smtp_tls_loglevel value "10" in "10"');
test.serial(gives, '-1', 0, 'warning: unknown smtp_tls_loglevel value "-1" in "-1"');
