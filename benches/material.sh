#!/usr/bin/env bash
# What benches/peers.sh measures with: a tree like one of sources, and bytes that do not compress, made from a seed. They
# are the same wherever they are made.

# A generator of Park and Miller: the same numbers by every awk.
random='function random(n) { seed = (seed * 16807) % 2147483647; return int(seed / 2147483647 * n) }'

# So many bytes that do not compress.
noise() {
    head -c "$1" < <(awk -v bytes="$1" "$random"'
        BEGIN {
            seed = 4711
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            for (i = 0; i < 4096; i++) pair[i] = substr(letters, int(i / 64) + 1, 1) substr(letters, i % 64 + 1, 1)
            for (i = 0; i < bytes; i += 3) { printf "%s%s", pair[random(4096)], pair[random(4096)]; if (i % 57 == 54) print "" }
        }' | base64 -di)
}

# Files of 4 to 1,000 lines, 8 kB on average, twenty to a folder: how many, and where.
make_tree() {
    local at=$1 files=$2
    mkdir "$at"
    awk -v files="$files" 'BEGIN { for (n = 0; n < files; n += 20) printf "s%d/p%d/m%d\n", n / 2000, n / 200, n / 20 }' |
        (cd "$at" && xargs mkdir -p)
    (cd "$at" && awk -v files="$files" "$random"'
        BEGIN {
            seed = 1417
            for (i = 0; i < 600; i++) { w = ""; for (l = 2 + random(8); l > 0; l--) w = w sprintf("%c", 97 + random(26)); word[i] = w }
            for (i = 0; i < 8000; i++) {
                text = substr("            ", 1, 4 * random(4))
                for (l = 1 + random(9); l > 0; l--) text = text word[random(600)] " "
                line[i] = text ";"
            }
            for (n = 0; n < files; n++) {
                path = sprintf("s%d/p%d/m%d/%s_%d.c", n / 2000, n / 200, n / 20, word[random(600)], n)
                for (l = int(4 * 2 ^ (random(8000) / 1000)); l > 0; l--) print line[random(8000)] > path
                close(path)
            }
        }')
}
