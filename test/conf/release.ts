import test from 'ava';
import {type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';

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
