/** The program under test: Lacre, packed as always, with the switches of the bench before it. */
import './switches.ts';
import '../../src/main.ts';
