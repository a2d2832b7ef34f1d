/*++
/* NAME
/*	units 3
/* SUMMARY
/*	branded numbers
/* DESCRIPTION
/*	A descriptor, a number of seconds and a number of milliseconds
/*	are the same thing to the compiler and different things to us.
/*	They get their brand where they enter the program.
/*--*/

declare const brand: unique symbol;

/** A primitive that can only be made on purpose. */
export type Brand<T, Name extends string> = T & {readonly [brand]: Name};

/** An open file descriptor of this process. */
export type Fd = Brand<number, 'Fd'>;
/** A duration in whole seconds: the unit of main.cf and of the wire. */
export type Seconds = Brand<number, 'Seconds'>;
/** A duration in milliseconds: the unit of timers. */
export type Milliseconds = Brand<number, 'Milliseconds'>;

/** Converts from the unit of the wire to the unit of the clock. */
export function toMilliseconds(seconds: Seconds): Milliseconds {
	return (seconds * 1000) as Milliseconds;
}
