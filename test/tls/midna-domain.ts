import {execFileSync} from 'node:child_process';
import test from 'ava';
import {Configuration} from '../../src/conf/configuration.ts';
import {linkedLibicuuc} from '../../src/conf/linkage.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {
	domainToAscii,
	domainToUtf8,
	hasEai,
	isAscii,
	loadIcu,
	prepareIcu,
} from '../../src/tls/midna-domain.ts';
import {asciiName, namePattern, serverName} from '../../src/tls/verify/server-name.ts';
import {wireName} from '../helpers/names.ts';
import {collectLog, defaultStart, postfix37} from '../helpers/openssl.ts';

const postconf = (name: string): string => execFileSync('postconf', ['-dh', name], {encoding: 'utf8'}).trim();
const library = linkedLibicuuc(
	new Configuration(
		new Map(['mail_version', 'shlib_directory', 'daemon_directory'].map(name => [name, postconf(name)])),
	),
);
const log = collectLog();
const logged = (): readonly string[] => log.splice(0);
const bücher = wireName('bücher.test');

test.serial('without a library names stay as they are, and nothing is logged', t => {
	t.false(hasEai());
	prepareIcu();
	t.is(domainToAscii(bücher), undefined);
	t.is(domainToUtf8('xn--bcher-kva.test'), undefined);
	t.is(asciiName(bücher), bücher);
	t.is(asciiName(''), '');
	const stop = wireName('\u3002bücher.test');
	t.deepEqual(namePattern(stop, defaultStart, postfix37), {name: stop, subdomains: false});
	t.deepEqual(namePattern('.a', defaultStart, postfix37), {name: 'a', subdomains: true});
	t.is(serverName(postfix37, {...defaultStart, sni: bücher}, false), bücher);
	t.deepEqual(logged(), []);
});

test.serial('a library that does not exist is an error, and names stay as they are', t => {
	t.throws(() => loadIcu('libicuuc.so.1', false), {message: /cannot open shared object file/});
	t.false(hasEai());
});

test.serial('a library without the functions is an error', t => {
	t.throws(() => loadIcu('libc.so.6', false));
	t.false(hasEai());
});

test.serial('the library of the installed Postfix converts names', t => {
	t.regex(library ?? '', /^libicuuc\.so\.\d+$/);
	loadIcu(library ?? '', false);
	prepareIcu();
	t.true(hasEai());
	t.is(domainToAscii(bücher), 'xn--bcher-kva.test');
	t.is(domainToAscii(wireName('faß.de')), 'xn--fa-hia.de');
	t.is(domainToUtf8('xn--fa-hia.de'), wireName('faß.de'));
	t.deepEqual(logged(), []);
});

/* The first hundred bytes of a name, which Postfix logs. */
function loggedName(name: string): string {
	return Buffer.from(name).subarray(0, 100).toString();
}

test.serial('each failure is logged once, with the text of Postfix', t => {
	const failures = [
		['é/', 'malformed ASCII label(s)'],
		['é.', 'malformed ASCII label(s)'],
		['é..a', 'UIDNA_ERROR_EMPTY_LABEL'],
		[`${'é'.repeat(60)}.a`, 'UIDNA_ERROR_LABEL_TOO_LONG'],
		['-é', 'UIDNA_ERROR_LEADING_HYPHEN'],
	] as const;
	for (const [name, reason] of failures) {
		t.is(domainToAscii(wireName(name)), undefined);
		t.is(domainToAscii(wireName(name)), undefined);
		t.deepEqual(logged(), [
			`warning: midna_domain_to_ascii_create: Problem translating domain "${loggedName(name)}" to ASCII form: ${reason}`,
		]);
	}

	t.is(domainToAscii('b\u00FC'), undefined);
	t.is(domainToUtf8('b\u00FC'), undefined);
	t.is(domainToUtf8('a..b'), undefined);
	t.is(domainToUtf8('xn--a/'), undefined);
	const prefix = 'warning: midna_domain_to';
	t.deepEqual(logged().slice(0, 3), [
		`${prefix}_ascii_create: Problem translating domain "b?" to ASCII form: malformed UTF-8`,
		`${prefix}_utf8_create: Problem translating domain "b?" to UTF-8 form: malformed UTF-8`,
		`${prefix}_utf8_create: Problem translating domain "a..b" to UTF8 form: UIDNA_ERROR_EMPTY_LABEL`,
	]);
});

test.serial('a UTF-8 form is rejected if it has no ASCII form', t => {
	const long = `${'a'.repeat(63)}.`.repeat(4);
	t.is(domainToUtf8(`${long}a`), undefined);
	t.regex(logged().join('\n'), /ascii_create: Problem translating .* UIDNA_ERROR_DOMAIN_NAME_TOO_LONG$/);
});

test('an empty text is not ASCII for Postfix', t => {
	t.false(isAscii(''));
	t.true(isAscii('a\u007F'));
	t.false(isAscii('a\u0080'));
});

test.serial('elements of a match list', t => {
	const start = {host: bücher, nexthop: wireName('é.test')};
	const legacy = releaseFeatures('3.5.25');
	const of = (element: string, features = postfix37) => namePattern(wireName(element), start, features);
	t.deepEqual(of('HostName'), {name: 'xn--bcher-kva.test', subdomains: false});
	t.deepEqual(of('hostname', legacy), {name: bücher, subdomains: false});
	t.deepEqual(of('nexthop'), {name: 'xn--9ca.test', subdomains: false});
	t.deepEqual(of('dot-nexthop'), {name: 'xn--9ca.test', subdomains: true});
	t.is(of('.'), undefined);
	t.deepEqual(of('.', legacy), {name: '.', subdomains: false});
	t.deepEqual(of('.bücher.test'), {name: 'xn--bcher-kva.test', subdomains: true});
	for (const stop of ['\u3002', '\uFF0E', '\uFF61']) {
		t.deepEqual(of(`${stop}bücher.test`), {name: 'xn--bcher-kva.test', subdomains: true});
		t.deepEqual(of(`${stop}test`), {name: 'test', subdomains: true});
	}

	t.deepEqual(of('\u3002'), {name: wireName('\u3002'), subdomains: false});
	t.deepEqual(of('..'), {name: '.', subdomains: true});
	logged();
});
