# What a schedule's measured error is not of is said: other guidance, noise in the steps.
tiny-model dit source
import source -q -o m.zst >/dev/null
make_one() { cache-schedule m.zst --steps 4 --interval 2 --solver uniform --validate 1 --calibrate 1 -o s.zst "$@" >report 2>err; }
make_one
! grep -q 'draws noise' err
generate m.zst --schedule s.zst -o x.png 2>err
[ ! -s err ]
generate m.zst --schedule s.zst --guidance 1.5 -o x.png 2>err
grep -q '^generate: s.zst was made and measured at guidance 4, this is 1.5$' err
generate m.zst --schedule s.zst --eta 1 -o x.png 2>err
grep -q '^generate: s.zst was made and measured without noise in the steps, which --eta 1 draws$' err
for sampler in euler-a ddpm; do
    make_one --sampler $sampler
    grep -q "^cache-schedule: $sampler draws noise in its steps" err
    make_one --sampler $sampler -q
    [ ! -s err ]
done
