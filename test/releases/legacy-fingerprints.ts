/*
 * tls_legacy_public_key_fingerprints: fingerprints of keys as Postfix 2.9.0 to 2.9.5
 * made them, of the bits alone. Releases before 3.9 do that when they are told to;
 * those before 3.6 compare with them, too.
 */
import {createHash} from 'node:crypto';
import test from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {Both} from '../helpers/both.ts';
import {type Case, put} from '../helpers/differential.ts';
import {openssl} from '../helpers/openssl.ts';
import {visit} from '../helpers/server-differential.ts';

const features = releaseFeatures(mailVersion());
const {legacyFingerprints} = features;

const both = new Both();
const {lab, peers} = both;
test.before(async () => {
	await both.start({
		tls_legacy_public_key_fingerprints: 'yes',
		smtp_tls_CAfile: lab.path('root.cert'),
		smtpd_tls_CAfile: lab.path('root.cert'),
		smtpd_tls_security_level: 'may',
		smtpd_tls_chain_files: lab.path('good.pem'),
		smtpd_tls_ask_ccert: 'yes',
		smtpd_tls_fingerprint_digest: 'sha256',
		smtpd_tls_loglevel: 'summary,peercert',
	});
});
test.after.always(async () => await both[Symbol.asyncDispose]());

/* An RSA key alone is what openssl(1) calls RSAPublicKey. */
function fingerprintOf(name: string, bare: boolean): string {
	const info = lab.path(`${name}.spki`);
	openssl('x509', '-in', lab.path(`${name}.cert`), '-noout', '-pubkey', '-out', info);
	const pem = openssl('rsa', '-pubin', '-in', info, ...(bare ? ['-RSAPublicKey_out'] : []));
	const der = Buffer.from(pem.replaceAll(/-----.*?-----/g, ''), 'base64');
	return createHash('sha256')
		.update(der)
		.digest('hex')
		.toUpperCase()
		.replaceAll(/..(?=.)/g, '$&:');
}

const told: Pick<Case, 'params' | 'init'> = {
	params: {tls_legacy_public_key_fingerprints: 1},
	init: {log_level: 'summary,peercert,certmatch', mdalg: 'sha256'},
};

for (const server of ['good', 'goodec', 'ed'] as const) {
	test.serial(`a server with ${server}: as with stock`, async t => {
		const item: Case = {...told, id: server, level: 'encrypt', server, start: {mdalg: 'sha256'}};
		const expected = await put(t, both.stock, peers, lab, item);
		t.deepEqual(await put(t, both.ours, peers, lab, item), expected);
		if (server === 'good') {
			t.is(expected.report?.peer_pubkey_fingerprint, fingerprintOf('good', legacyFingerprints));
		}
	});
}

test.serial('a client with a certificate: as with stock', async t => {
	const item = {id: 'client', client: '-cert %client.cert -key %client.key'};
	const visits = await visit(t, both.stock, lab, item);
	t.deepEqual(await visit(t, both.ours, lab, item), visits);
	t.is(visits[0]?.report?.peer_pubkey_fingerprint, fingerprintOf('client', legacyFingerprints));
});

if (features.digestLists) {
	for (const bare of [true, false]) {
		test.serial(`a fingerprint of ${bare ? 'the bits matches' : 'more than that does not'}`, async t => {
			const item: Case = {
				...told,
				id: `match-${bare}`,
				level: 'fingerprint',
				server: 'good',
				start: {
					mdalg: 'sha256',
					dane: {
						domain: '',
						ta: [],
						ee: [{mdalg: 'sha256', certs: [], pkeys: [fingerprintOf('good', bare)]}],
						certs: [],
						pkeys: [],
						flags: 0,
						exp: 0n,
					},
				},
			};
			const MATCHED = 8;
			const expected = await put(t, both.stock, peers, lab, item);
			t.deepEqual(await put(t, both.ours, peers, lab, item), expected);
			t.is((expected.report?.peer_status ?? 0) & MATCHED, bare ? MATCHED : 0);
		});
	}
}
