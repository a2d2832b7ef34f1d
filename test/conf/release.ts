import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {formats, type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';
import {newestMinor} from '../helpers/release.ts';

const since = test.macro({
	exec(
		t,
		name: keyof ReleaseFeatures,
		value: ReleaseFeatures[keyof ReleaseFeatures],
		...releases: ReadonlyArray<readonly [number, number]>
	) {
		for (const [minor, patch] of releases) {
			t.deepEqual(releaseFeatures(`3.${minor}.${patch}`)[name], value, `3.${minor}.${patch}`);
			if (patch > 0) {
				t.notDeepEqual(releaseFeatures(`3.${minor}.${patch - 1}`)[name], value, `3.${minor}.${patch - 1}`);
			}
		}

		const [first = [0, 0]] = releases;
		t.notDeepEqual(releaseFeatures(`3.${first[0] - 1}.0`)[name], value, `3.${first[0] - 1}.0`);
	},
	title(
		_,
		name: string,
		value: ReleaseFeatures[keyof ReleaseFeatures],
		...releases: ReadonlyArray<readonly [number, number]>
	) {
		return `${name} is ${String(value)} since ${releases.map(numbers => numbers.join('.')).join(', ')}`;
	},
});

test(since, 'legacyVerification', false, [6, 0]);
test(since, 'protocolLimits', true, [6, 0]);
test(since, 'builtinDhParameters', false, [6, 0]);
test(since, 'defaultGroupsByKeyword', ['?X25519MLKEM768:DEFAULT', ''], [11, 0]);
test(since, 'groups', 'numbers', [8, 0]);
test(since, 'groups', 'names', [10, 0]);
test(since, 'noRenegotiation', true, [8, 0]);
test(since, 'rawPublicKeys', true, [9, 0]);
test(since, 'credentialLines', true, [9, 0]);
test(since, 'legacyFingerprints', false, [9, 0]);
test(since, 'groupAsKeyExchange', true, [10, 0]);
test(since, 'mismatchIsTrusted', true, [10, 4]);
test(since, 'resumedHasSignatures', false, [6, 17], [7, 13], [8, 8], [9, 2]);
test(since, 'firstTicketOnly', true, [11, 0]);
test(since, 'openedTicketsOnly', true, [11, 0]);
test(since, 'lateServerNameLookup', true, [12, 0]);
test(since, 'logLevelPerConnection', true, [12, 0]);
test(since, 'serviceSessions', true, [11, 7]);

test(since, 'greeting', true, [6, 0]);
test(since, 'digestLists', false, [6, 0]);
test(since, 'serverSettings', true, [12, 0]);

test('a release that is newer than all known ones has the features of the newest known one, with all patches', t => {
	for (const version of [`3.${newestMinor + 1}.0`, `3.${newestMinor + 1}-20300101`, '3.99-RC1', '4.0']) {
		t.deepEqual(
			{...releaseFeatures(version), release: '', known: true},
			{...releaseFeatures(`3.${newestMinor}.999`), release: ''},
		);
		t.false(releaseFeatures(version).known);
	}
});

test('each known release has a format, the newest one the newest format, and each format is used', t => {
	const used = new Set<string>();
	for (let minor = 4; minor <= newestMinor; minor++) {
		for (let patch = 0; patch <= 30; patch++) {
			used.add(releaseFeatures(`3.${minor}.${patch}`).format);
		}
	}

	t.deepEqual([...used].toSorted(), formats.toSorted());
	t.deepEqual([releaseFeatures(`3.${newestMinor}.999`).format], formats.slice(-1));
});

test('a snapshot and a release candidate have the features of patch level 0', t => {
	for (const [version, release] of [
		['3.12-20260821', '3.12.0'],
		['3.11.0-RC2', '3.11.0'],
		['3.8-RC1', '3.8.0'],
	] as const) {
		t.deepEqual({...releaseFeatures(version), release}, releaseFeatures(release));
	}
});

for (const version of ['3.3.22', '2.11.0', '3', '3.x', '', '3.7.11 ']) {
	test(`releaseFeatures rejects "${version}"`, t => {
		t.throws(() => releaseFeatures(version), {
			instanceOf: ConfigurationError,
			message: `unsupported Postfix release: mail_version = ${version}`,
		});
	});
}
